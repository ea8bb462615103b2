"""Replies as JSON text. What is JSON in the database goes out as it is, so that numbers stay exact."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from steeple.domain.job import NewJob
from steeple.domain.states import State
from steeple.store.flows import FlowJob, FlowView
from steeple.store.inbox_answers import Accepted
from steeple.store.reads import AttemptView, JobView
from steeple.store.reports import Line

_quoted = json.encoder.encode_basestring
_ALONE = '"after":[],"on_parent_failure":null,"flow_id":null'


def job_text(job: JobView) -> str:
    """The job as the contract has it."""
    schedule_id = None if job.schedule_id is None else str(job.schedule_id)
    return (
        f'{{"id":"{job.id}","task":{_text(job.task)},"args":{job.args},"state":"{job.state.value}",'
        f'"queue":{_text(job.queue)},"priority":"{job.priority.value}","tags":[{",".join(map(_text, job.tags))}],'
        f'"unique_key":{_text(job.unique_key)},"unique_states":{_states(job.unique_states)},'
        f'"unique_until":{_time(job.unique_until)},"run_at":{_time(job.run_at)},"expires_at":{_time(job.expires_at)},'
        f'"timeout":{job.timeout},"attempt":{job.attempt},"max_attempts":{job.max_attempts},'
        f'"crashes":{job.crashes},"created_at":{_time(job.created_at)},"started_at":{_time(job.started_at)},'
        f'"finished_at":{_time(job.finished_at)},"worker":{_text(job.worker)},"progress":{job.progress or "null"},'
        f'"result":{job.result or "null"},"error":{job.error or "null"},'
        f'"cancel_requested_at":{_time(job.cancel_requested_at)},"stop":{job.stop or "null"},'
        f'"schedule_id":{_text(schedule_id)},"limits":[{",".join(map(_text, job.limits))}],'
        f'"fair_key":{_text(job.fair_key)},{_relations(job.after, job.on_parent_failure, job.flow_id)}}}'
    )


def _relations(after: Sequence[UUID], on_parent_failure: str | None, flow_id: UUID | None) -> str:
    """The members that tell what a job has to do with others."""
    if not after and flow_id is None:
        return _ALONE
    parents = ",".join(_text(str(parent)) for parent in dict.fromkeys(after))
    policy = _text(on_parent_failure if after else None)
    flow = _text(None if flow_id is None else str(flow_id))
    return f'"after":[{parents}],"on_parent_failure":{policy},"flow_id":{flow}'


def new_job_text(job: NewJob, accepted: Accepted) -> str:
    """The same of a job that has just been stored, without reading it back."""
    created_at = _time(accepted.created_at)
    run_at = created_at if accepted.run_at == accepted.created_at else _time(accepted.run_at)
    until = None if job.unique_period is None else accepted.created_at + timedelta(seconds=job.unique_period)
    return (
        f'{{"id":"{job.id}","task":{_text(job.task)},"args":{job.args},"state":"PENDING",'
        f'"queue":{_text(job.queue)},"priority":"{job.priority.value}","tags":[{",".join(map(_text, job.tags))}],'
        f'"unique_key":{_text(job.unique_key)},"unique_states":{_states(job.unique_states)},'
        f'"unique_until":{_time(until)},"run_at":{run_at},"expires_at":{_time(job.expires_at)},'
        f'"timeout":{job.timeout},"attempt":0,"max_attempts":{job.max_attempts},"crashes":0,'
        f'"created_at":{created_at},"started_at":null,"finished_at":null,"worker":null,"progress":null,'
        f'"result":null,"error":null,"cancel_requested_at":null,"stop":null,"schedule_id":null,'
        f'"limits":[{",".join(map(_text, job.limits))}],"fair_key":{_text(job.fair_key)},'
        f"{_relations(job.after, job.on_parent_failure, job.flow_id)}}}"
    )


def flow_text(flow: FlowView) -> str:
    """The flow, its first jobs in short."""
    counts = ",".join(f'"{state.value}":{jobs}' for state, jobs in flow.counts.items())
    return (
        f'{{"id":"{flow.id}","name":{_text(flow.name)},"state":"{flow.state.value}","counts":{{{counts}}},'
        f'"held":{flow.held},"created_at":{_time(flow.created_at)},"finished_at":{_time(flow.finished_at)},'
        f'"jobs":[{",".join(map(_flow_job_text, flow.jobs))}],"has_more":{"true" if flow.has_more else "false"}}}'
    )


def _flow_job_text(job: FlowJob) -> str:
    parents = ",".join(_text(str(parent)) for parent in job.after)
    return (
        f'{{"id":"{job.id}","task":{_text(job.task)},"state":"{job.state.value}","held_by":{_text(job.held_by)},'
        f'"after":[{parents}]}}'
    )


def page_text(jobs: Iterable[JobView], next_cursor: str | None) -> str:
    return f'{{"jobs":[{",".join(map(job_text, jobs))}],"next_cursor":{_text(next_cursor)}}}'


def attempts_text(attempts: Iterable[AttemptView]) -> str:
    return f'{{"attempts":[{",".join(map(_attempt_text, attempts))}]}}'


def _attempt_text(attempt: AttemptView) -> str:
    return (
        f'{{"attempt":{attempt.attempt},"state":"{attempt.state.value}","fence":{attempt.fence},'
        f'"worker":{_text(attempt.worker)},"started_at":{_time(attempt.started_at)},'
        f'"finished_at":{_time(attempt.finished_at)},"error":{attempt.error or "null"},'
        f'"stop":{attempt.stop or "null"}}}'
    )


def logs_text(lines: Iterable[Line]) -> str:
    return f'{{"logs":[{",".join(map(_line_text, lines))}]}}'


def _line_text(line: Line) -> str:
    # The fields as ASCII: a task may have logged half a surrogate pair.
    return (
        f'{{"id":{line.id},"at":{_time(line.at)},"attempt":{line.attempt},"message":{_text(line.message)},'
        f'"fields":{json.dumps(line.fields)}}}'
    )


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat()[:-6] + "Z"


def _time(moment: datetime | None) -> str:
    return "null" if moment is None else f'"{time_text(moment)}"'


def _states(states: Sequence[State] | None) -> str:
    return "null" if states is None else json.dumps(states)


def _text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)

"""What replies hold, for the OpenAPI document only: they are written by ``render``, and not looked at again."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from steeple.api.examples import ATTEMPT, FLOW, JOB, LOG_LINE, PURGE, QUEUE, TASK, WORKER
from steeple.domain.job import ParentFailure, Reason
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.domain.unique import OnConflict


class Reply(BaseModel):
    """Clients ignore members that they do not know."""


class JobError(Reply):
    type: str
    message: str
    traceback: str | None = None
    reason: Reason


class Stop(Reply):
    """How a running task was stopped, stage by stage."""

    reason: Annotated[Literal["cancel", "timeout"], Field(description="Why.")]
    requested_at: Annotated[datetime, Field(description="When somebody cancelled it, or its time was up.")]
    signalled_at: Annotated[datetime, Field(description="When the task was told.")]
    killed_at: Annotated[datetime | None, Field(description="When its process was killed, as it did not heed that.")]


class Job(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [JOB]})

    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
    task: str
    args: dict[str, Any]
    state: State
    queue: str
    priority: Priority
    tags: list[str]
    unique_key: str | None
    unique_states: Annotated[
        list[State] | None, Field(description="In which it holds its key; null: while it is pending or running.")
    ]
    unique_until: Annotated[
        datetime | None, Field(description="From then on another job may take the key; null: none may.")
    ]
    run_at: datetime
    expires_at: datetime | None
    timeout: Annotated[float, Field(description="Seconds per attempt.")]
    attempt: Annotated[int, Field(description="How many attempts have begun.")]
    max_attempts: int
    crashes: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: Any
    result: Any
    error: JobError | None
    cancel_requested_at: datetime | None
    stop: Annotated[Stop | None, Field(description="How the latest attempt was stopped, if it was.")]
    schedule_id: str | None
    limits: Annotated[list[str], Field(description="The keys of the limits that hold for it, also those of its task.")]
    fair_key: Annotated[str | None, Field(description="The key by which it shares its lane with other jobs.")]
    after: Annotated[list[str], Field(description="Ids of the jobs that must end before it runs.")]
    on_parent_failure: Annotated[
        ParentFailure | None, Field(description="What becomes of it when one of those ends without success.")
    ]
    flow_id: str | None


class FlowJob(Reply):
    id: str
    task: str
    state: State
    held_by: Annotated[str | None, Field(description="Why it is no candidate, though pending; such as `parents`.")]
    after: list[str]


class Flow(Reply):
    """Jobs that were submitted as one."""

    model_config = ConfigDict(json_schema_extra={"examples": [FLOW]})

    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
    name: str | None
    state: Annotated[State, Field(description="`RUNNING` until no job has its turn to come; `FAILED` if any failed.")]
    counts: Annotated[dict[State, int], Field(description="Its jobs in each state.")]
    held: Annotated[int, Field(description="Pending jobs that wait for a decision, as a parent failed.")]
    created_at: datetime
    finished_at: datetime | None
    jobs: Annotated[list[FlowJob], Field(description="The first ones, in short.")]
    has_more: Annotated[bool, Field(description="Whether there are others.")]


class JobPage(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [JOB], "next_cursor": None}]})

    jobs: list[Job]
    next_cursor: Annotated[
        str | None,
        Field(
            description="Null on the last page. A page may have fewer jobs than `limit`, even none, before the last."
        ),
    ]


class Rate(Reply):
    count: int
    period: Annotated[float, Field(description="Seconds.")]
    burst: int | None


class Fault(Reply):
    pointer: Annotated[str, Field(description="A JSON Pointer (RFC 6901).")]
    detail: str
    within: Annotated[str | None, Field(alias="in", description="`query`, `path` or `header`; the body if absent.")] = (
        None
    )


class Problem(Reply):
    """RFC 9457. Some types have further members, such as `job_id`."""

    type: Annotated[str, Field(description="The page that explains this type of problem.")]
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[Fault] = []


class BatchItem(Reply):
    id: Annotated[str | None, Field(description="The job, if it was accepted.")] = None
    conflict: Annotated[
        OnConflict | None,
        Field(description="What was done about the job that held the unique key, which this is; left out if none did."),
    ] = None
    error: Annotated[Problem | None, Field(description="Why it was not, with `partial`.")] = None


class Batch(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [{"id": JOB["id"]}]}]})

    jobs: Annotated[list[BatchItem], Field(description="In the order of the request.")]


class Attempt(Reply):
    attempt: int
    state: State
    fence: int
    worker: str | None
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    stop: Stop | None


class Attempts(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"attempts": [ATTEMPT]}]})

    attempts: Annotated[list[Attempt], Field(description="Oldest first, the last 1000.")]


class LogLine(Reply):
    id: int
    at: datetime
    attempt: int
    message: str
    fields: dict[str, Any]


class Logs(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"logs": [LOG_LINE]}]})

    logs: list[LogLine]


class Retry(Reply):
    max_attempts: int
    initial: float
    factor: float
    cap: float


class Task(Reply):
    name: str
    description: str
    arguments: Annotated[
        dict[str, Any], Field(alias="schema", description="The JSON Schema (2020-12) of its arguments.")
    ]
    queue: str
    priority: Priority
    timeout: float
    retry: Retry
    is_async: bool


class Tasks(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [TASK]}]})

    tasks: list[Task]


class Queue(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [QUEUE]})

    name: str
    counts: Annotated[dict[State, int], Field(description="Jobs in each state.")]
    oldest_wait: Annotated[float | None, Field(description="Seconds that the oldest due job has waited.")]
    throughput: Annotated[float, Field(description="Jobs finished per second, over the last minute.")]
    paused: bool
    paused_at: datetime | None
    paused_by: Annotated[str | None, Field(description="The name of the API key that it was paused with.")]
    pause_note: str | None
    drained: Annotated[bool, Field(description="It is paused, and none of its jobs runs any more.")]
    default_priority: Annotated[
        Priority | None, Field(description="Of jobs of which neither submitter nor task names one.")
    ]
    retention: Annotated[float | None, Field(description="Seconds for which its finished jobs are kept.")]
    max_running: Annotated[int | None, Field(description="How many of its jobs run at once at most.")]
    rate: Rate | None


class Purge(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [PURGE]})

    dry_run: bool
    count: Annotated[int, Field(description="Jobs that were cancelled, or that would be.")]
    remaining: Annotated[int, Field(description="Jobs that are pending still of those that were there: purge again.")]


class Queues(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"queues": [QUEUE]}]})

    queues: list[Queue]


class Running(Reply):
    id: str
    task: str
    started_at: datetime


class Lane(Reply):
    queue: str | None
    priority: Priority


class Worker(Reply):
    id: str
    name: str
    version: str
    slots: int
    queues: Annotated[list[str] | None, Field(description="Null: every queue.")]
    priorities: list[Priority]
    lanes: Annotated[list[Lane], Field(description="Where it waits for wake-ups; a null queue stands for every.")]
    running: list[Running]
    started_at: datetime
    heartbeat_at: datetime
    silence: Annotated[float, Field(description="Seconds since its last heartbeat.")]
    draining: bool
    trouble: Annotated[str | None, Field(description="What keeps it from working, in words.")]


class Workers(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"workers": [WORKER]}]})

    workers: list[Worker]


class Live(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: str


class Ready(Reply):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ready", "database": "ok", "schema": "0008", "broker": "ok"}]}
    )

    status: str
    database: str
    schema_revision: Annotated[str | None, Field(alias="schema")]
    broker: str

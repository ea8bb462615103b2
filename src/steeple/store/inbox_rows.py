"""New jobs as the statements of the inbox take them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from steeple.domain.job import Hold, NewJob

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def rows_of(jobs: Sequence[NewJob]) -> str:
    """The jobs as the INSERT takes them: a JSON list."""
    return f"[{','.join(map(_row, jobs))}]"


def rows_for_holders(pairs: Iterable[tuple[UUID, NewJob]]) -> str:
    """The same, each with the job that it is to change."""
    rows = [f'{{"holder":"{holder}",{_row(job)[1:]}' for holder, job in pairs]
    return f"[{','.join(rows)}]"


def _row(job: NewJob) -> str:
    """The job as JSON, without what is null."""
    fields: dict[str, Any] = {
        "id": str(job.id),
        "task": job.task,
        "queue": job.queue,
        "priority": job.priority.rank,
        "timeout": job.timeout,
        "max_attempts": job.max_attempts,
        "delay": job.delay,
    }
    if job.tags:
        fields["tags"] = job.tags
    if job.unique_key is not None:
        fields |= {"unique_key": job.unique_key, "unique_period": job.unique_period}
        fields["unique_states"] = job.unique_states
    if job.run_at is not None:
        fields["run_at"] = job.run_at.isoformat()
    if job.expires_at is not None:
        fields["expires_at"] = job.expires_at.isoformat()
    if job.retry is not None:
        fields["retry"] = asdict(job.retry)
    if job.limits:
        fields["limits"] = job.limits
    if job.fair_key is not None:
        fields["fair_key"] = job.fair_key
    if job.after:
        fields |= {"held_by": Hold.UNCONFIRMED, "on_parent_failure": job.on_parent_failure}
    if job.flow_id is not None:
        fields["flow_id"] = str(job.flow_id)
    if job.schedule_id is not None:
        fields["schedule_id"] = str(job.schedule_id)
    if job.idempotency is not None:
        fields["idempotency_owner"] = job.idempotency.owner
        fields["idempotency_key"] = job.idempotency.key
        fields["request_hash"] = job.idempotency.request_hash.hex()
    return f'{_encode(fields)[:-1]},"args":{job.args}}}'

"""What a running attempt says of itself: progress and log lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

# Stores progress where the claim still holds.
_PROGRESS = text("""
WITH durability AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set),
report AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:progress AS text[]))
    AS report (id, fence, progress)
),
held AS MATERIALIZED (
    SELECT jobs.id, report.progress FROM durability, jobs JOIN report USING (id, fence)
    WHERE state = 'RUNNING' ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET progress = CAST(held.progress AS json) FROM held WHERE jobs.id = held.id
""")

# Stores log lines; those of a job that was pruned meanwhile are let go.
_LOG = text("""
INSERT INTO job_logs (job_id, attempt, at, message, fields)
SELECT line.job_id, line.attempt, now() - line.ago * interval '1 s', line.message, CAST(line.fields AS json)
FROM unnest(CAST(:job_ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:agos AS float8[]),
            CAST(:messages AS text[]), CAST(:fields AS text[]))
     WITH ORDINALITY AS line (job_id, attempt, ago, message, fields, place)
WHERE EXISTS (SELECT FROM jobs WHERE jobs.id = line.job_id)
ORDER BY line.place
""")

# A page of a job's log, from where the last one ended.
_LOGS = text("""
SELECT id, attempt, at, message, fields FROM job_logs WHERE job_id = :job_id AND id > :after ORDER BY id LIMIT :limit
""")


@dataclass(frozen=True)
class Progress:
    """``progress`` is JSON text."""

    job_id: UUID
    fence: int
    progress: str


@dataclass(frozen=True)
class NewLine:
    """``ago``: seconds before it is stored. ``fields`` is JSON text."""

    job_id: UUID
    attempt: int
    ago: float
    message: str
    fields: str


@dataclass(frozen=True)
class Line:
    id: int
    attempt: int
    at: datetime
    message: str
    fields: dict[str, object]


def store_progress(connection: Connection, reports: Sequence[Progress]) -> None:
    connection.execute(
        _PROGRESS,
        {
            "ids": [report.job_id for report in reports],
            "fences": [report.fence for report in reports],
            "progress": [report.progress for report in reports],
        },
    )


def store_lines(connection: Connection, lines: Sequence[NewLine]) -> None:
    connection.execute(
        _LOG,
        {
            "job_ids": [line.job_id for line in lines],
            "attempts": [line.attempt for line in lines],
            "agos": [line.ago for line in lines],
            "messages": [line.message for line in lines],
            "fields": [line.fields for line in lines],
        },
    )


def read_lines(connection: Connection, job_id: UUID, *, after: int = 0, limit: int = 1000) -> list[Line]:
    """A job's log lines in the order they were written, from the one behind ``after``."""
    rows = connection.execute(_LOGS, {"job_id": job_id, "after": after, "limit": limit})
    return [Line(row.id, row.attempt, row.at, row.message, row.fields) for row in rows]

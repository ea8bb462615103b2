"""How running tasks were stopped, stage by stage: noted on the job, and on the attempt if that was put down."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, text

from steeple.domain.job import Claim

# Locks the jobs in the order of their ids, so that their attempts are put down by now or will find the note on the job.
_LOCK = text("""
SELECT id, cancel_requested_at, now() AS now FROM jobs
WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE
""")

# On a job whose last claim this is: a cancelled one has moved its fence on by one.
_NOTE_ON_JOBS = text("""
UPDATE jobs SET stop = CAST(note.stop AS json)
FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:stops AS text[])) AS note (id, fence, stop)
WHERE jobs.id = note.id AND (
    jobs.fence = note.fence OR (jobs.fence = note.fence + 1 AND CAST(jobs.state AS text) = 'CANCELLED')
)
""")

# On an attempt that was put down by then.
_NOTE_ON_ATTEMPTS = text("""
UPDATE attempts SET stop = CAST(note.stop AS json)
FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:stops AS text[])) AS note (id, fence, stop)
WHERE attempts.job_id = note.id AND attempts.fence = note.fence
""")


class StopReason(StrEnum):
    CANCEL = "cancel"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class StopNote:
    """The stages in seconds before now. Of a cancellation the job itself knows when it was requested."""

    claim: Claim
    reason: StopReason
    requested_ago: float
    signalled_ago: float
    killed_ago: float | None


def note(connection: Connection, notes: Sequence[StopNote]) -> None:
    """Note how far the stopping has come. May be done again; what is noted of an earlier claim stays with that."""
    rows = connection.execute(_LOCK, {"ids": [each.claim.id for each in notes]})
    jobs = {row.id: row for row in rows}
    known = [each for each in notes if each.claim.id in jobs]
    arrays = {
        "ids": [each.claim.id for each in known],
        "fences": [each.claim.fence for each in known],
        "stops": [_stages(each, jobs[each.claim.id].cancel_requested_at, jobs[each.claim.id].now) for each in known],
    }
    connection.execute(_NOTE_ON_JOBS, arrays)
    connection.execute(_NOTE_ON_ATTEMPTS, arrays)


def _stages(note: StopNote, cancelled_at: datetime | None, now: datetime) -> str:
    """As JSON text, in the form in which the API shows it."""
    requested_at = cancelled_at if note.reason is StopReason.CANCEL else None
    return json.dumps(
        {
            "reason": note.reason,
            "requested_at": _stamp(requested_at or now - timedelta(seconds=note.requested_ago)),
            "signalled_at": _stamp(now - timedelta(seconds=note.signalled_ago)),
            "killed_at": None if note.killed_ago is None else _stamp(now - timedelta(seconds=note.killed_ago)),
        }
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

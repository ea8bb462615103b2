"""Pages of jobs, newest first. Ids are in the order of creation, so a page is a walk down the primary key; where that
would take too long it goes by an index of its own, or stops after a while and says where to go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store.reads import JobView, read_jobs

_MATCHES = """
    (CAST(:states AS text[]) IS NULL OR state = ANY (CAST(CAST(:states AS text[]) AS job_state[])))
    AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
    AND (CAST(:queues AS text[]) IS NULL OR queue = ANY (CAST(:queues AS text[])))
    AND (CAST(:priorities AS smallint[]) IS NULL OR priority = ANY (CAST(:priorities AS smallint[])))
    AND (CAST(:tags AS text[]) IS NULL OR tags && CAST(:tags AS text[]))
    AND (CAST(:created_after AS timestamptz) IS NULL OR created_at >= CAST(:created_after AS timestamptz))
    AND (CAST(:created_before AS timestamptz) IS NULL OR created_at < CAST(:created_before AS timestamptz))
    AND (CAST(:containing AS text) IS NULL
         OR task ILIKE :containing OR unique_key ILIKE :containing OR array_to_string(tags, ' ') ILIKE :containing
         OR CAST(id AS text) LIKE :beginning
         OR (error IS NOT NULL AND error ->> 'message' ILIKE :containing))
"""

# The jobs that match among so many before some id.
_IN_WINDOW = text(
    f"""
SELECT id FROM (
    SELECT * FROM jobs WHERE id < :before AND id >= :least ORDER BY id DESC LIMIT :window
) AS job
WHERE {_MATCHES}
ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - made of nothing but what stands here
)

# The last id of that window; none if it reaches the end.
_WINDOW_ENDS = text("""
SELECT id FROM jobs WHERE id < :before AND id >= :least ORDER BY id DESC OFFSET :window - 1 LIMIT 1
""")

# The jobs that match, by the partial index of each state but SUCCESS. OFFSET 0 keeps the planner from going down the
# primary key instead, past any number of jobs in other states.
_BY_STATE = text(
    f"""
SELECT id FROM (
    SELECT unsuccessful.id
    FROM unnest(CAST(CAST(:states AS text[]) AS job_state[])) AS wanted (wanted_state) CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE state = wanted_state AND state IN ('FAILED', 'CANCELLED') AND id < :before AND id >= :least AND {_MATCHES}
        ORDER BY id DESC LIMIT :limit
    ) AS unsuccessful
    UNION ALL
    (SELECT id FROM (SELECT * FROM jobs WHERE state = 'RUNNING' OFFSET 0) AS running
     WHERE 'RUNNING' = ANY (CAST(:states AS text[])) AND id < :before AND id >= :least AND {_MATCHES}
     ORDER BY id DESC LIMIT :limit)
    UNION ALL
    (SELECT id FROM (SELECT * FROM jobs WHERE state = 'PENDING' OFFSET 0) AS pending
     WHERE 'PENDING' = ANY (CAST(:states AS text[])) AND id < :before AND id >= :least AND {_MATCHES}
     ORDER BY id DESC LIMIT :limit)
) AS found
ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - made of nothing but what stands here
)

# The jobs that match, by the index of tags.
_BY_TAG = text(
    f"""
SELECT id FROM (
    SELECT * FROM jobs WHERE tags && CAST(:tags AS text[]) AND tags <> '{{}}' OFFSET 0
) AS tagged
WHERE id < :before AND id >= :least AND {_MATCHES}
ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - made of nothing but what stands here
)

_FIRST_WINDOW = 20_000
_NEXT_WINDOW = 100_000
_SEARCH_WINDOW = 5_000
"""Searching looks into errors, which takes its time."""

_PATIENCE_SECONDS = 1.0
_SKEW_SECONDS = 3600
"""How far the clock that made an id may be from the database's."""

_READ_AT_ONCE = 20
_MOST_CHARS = 8 * 1024 * 1024
_LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list: several values of a field match any of them, fields that are empty match all.

    ``search`` is looked for in task, tags, unique key and error message, and at the beginning of the id.
    """

    states: tuple[State, ...] = ()
    tasks: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    priorities: tuple[Priority, ...] = ()
    tags: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    search: str | None = None


@dataclass(frozen=True)
class Page:
    """``next_before``: the next page's jobs have ids before this one; None if there are none.

    A page may have fewer jobs than were asked for and still not be the last.
    """

    jobs: tuple[JobView, ...]
    next_before: UUID | None


def read_page(
    connection: Connection,
    wanted: JobFilter,
    *,
    limit: int,
    before: UUID | None = None,
    patience: float = _PATIENCE_SECONDS,
) -> Page:
    """Up to ``limit`` jobs with ids before ``before``, newest first. Stops looking after ``patience`` seconds."""
    search = _Search(connection, wanted, limit + 1, patience)
    ids = search.find(min(before or _LAST_ID, _upper(wanted)))
    jobs = _read(connection, ids[:limit])
    if jobs and (len(ids) > limit or len(jobs) < len(ids)):
        return Page(jobs, jobs[-1].id)
    return Page(jobs, search.stopped_at)


class _Search:
    """One search for ids; ``stopped_at`` is where patience ended, None if all was looked at."""

    def __init__(self, connection: Connection, wanted: JobFilter, limit: int, patience: float) -> None:
        self._connection = connection
        self._wanted = wanted
        self._parameters = _parameters(wanted) | {"limit": limit}
        self._limit = limit
        self._until = monotonic() + patience
        self.stopped_at: UUID | None = None

    def find(self, before: UUID) -> list[UUID]:
        states = set(self._wanted.states)
        if states and not states & {State.SUCCESS, State.PENDING}:
            return self._ids(_BY_STATE, before)
        window = _SEARCH_WINDOW if self._wanted.search else _FIRST_WINDOW
        found, end = self._look_through(before, window)
        if end is None:
            return found
        if states and State.SUCCESS not in states:
            return self._ids(_BY_STATE, before)
        if self._wanted.tags:
            return self._ids(_BY_TAG, before)
        return self._go_on(found, end)

    def _go_on(self, found: list[UUID], end: UUID | None) -> list[UUID]:
        window = _SEARCH_WINDOW if self._wanted.search else _NEXT_WINDOW
        while end is not None and len(found) < self._limit:
            if monotonic() >= self._until:
                self.stopped_at = end
                break
            more, end = self._look_through(end, window)
            found += more
        return found[: self._limit]

    def _look_through(self, before: UUID, window: int) -> tuple[list[UUID], UUID | None]:
        """What matches in a window, and where that ends; None if enough was found, or nothing comes after it."""
        found = self._ids(_IN_WINDOW, before, window=window)
        if len(found) == self._limit:
            return found, None
        parameters = self._parameters | {"before": before, "window": window}
        return found, self._connection.execute(_WINDOW_ENDS, parameters).scalar()

    def _ids(self, statement: Any, before: UUID, **more: Any) -> list[UUID]:
        return list(self._connection.execute(statement, self._parameters | {"before": before} | more).scalars())


def _parameters(wanted: JobFilter) -> dict[str, Any]:
    escaped = None if wanted.search is None else _escaped(wanted.search)
    return {
        "states": [state.value for state in wanted.states] or None,
        "tasks": list(wanted.tasks) or None,
        "queues": list(wanted.queues) or None,
        "priorities": [priority.rank for priority in wanted.priorities] or None,
        "tags": list(wanted.tags) or None,
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
        "containing": None if escaped is None else f"%{escaped}%",
        "beginning": None if escaped is None else f"{escaped.lower()}%",
        "least": _lower(wanted),
    }


def _escaped(search: str) -> str:
    """``search`` so that LIKE takes it literally."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _lower(wanted: JobFilter) -> UUID:
    return UUID(int=0) if wanted.created_after is None else _id_at(wanted.created_after, -_SKEW_SECONDS)


def _upper(wanted: JobFilter) -> UUID:
    return _LAST_ID if wanted.created_before is None else _id_at(wanted.created_before, _SKEW_SECONDS)


def _id_at(moment: datetime, skew: float) -> UUID:
    """The least UUIDv7 of a moment."""
    milliseconds = int((moment.astimezone(UTC).timestamp() + skew) * 1000)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def _read(connection: Connection, ids: Sequence[UUID]) -> tuple[JobView, ...]:
    """The jobs of these ids, or the first of them if all would be too much for one answer."""
    jobs: list[JobView] = []
    chars = 0
    for start in range(0, len(ids), _READ_AT_ONCE):
        part = ids[start : start + _READ_AT_ONCE]
        found: Mapping[UUID, JobView] = read_jobs(connection, part)
        jobs += [found[job_id] for job_id in part if job_id in found]
        chars += sum(len(job.args) + len(job.result or "") + len(job.error or "") for job in found.values())
        if chars > _MOST_CHARS:
            break
    return tuple(jobs)

"""Pages of jobs, newest first. Ids are in the order of creation, so a page is a walk down the primary key; where that
would take too long it goes by kind or by tag, or stops after a while and says where to go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store.finding import MOST_OF_A_KIND, Found, find_by_kind, find_by_tag, find_in_window, find_lately_tagged
from steeple.store.reads import JobView, read_jobs

_FIRST_WINDOW = 2_000
_LAST_WINDOW = 50_000
_LAST_SEARCH_WINDOW = 5_000
"""Searching looks into errors, which takes its time."""

_GROWTH = 5
"""From one window to the next."""

_FEW = 10
"""With fewer among so many, a tag is so rare that its index is the shorter way."""

_TAGGED_WINDOWS = (10_000, 100_000)

_PATIENCE_SECONDS = 1.0
_SKEW_SECONDS = 600
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
        newest = self._look_through(before, _FIRST_WINDOW)
        found, end, wanted = newest.ids, newest.horizon, self._wanted
        if end is None:
            return found
        if wanted.tags:
            return self._by_tag(found, end)
        if wanted.states or wanted.queues or wanted.tasks:
            return self._by_kind(found, end)
        return self._go_on(found, end)

    def _by_tag(self, found: list[UUID], before: UUID) -> list[UUID]:
        """Of a tag that many jobs have, there are some among the newest of each kind; another is looked up."""
        newest = self._newest_of_kinds(before, self._limit) or Found([], before)
        found, end = found + newest.ids, newest.horizon
        if len(newest.ids) >= _FEW:
            return self._by_kind(found, end)
        for window in _TAGGED_WINDOWS:
            if end is None or len(found) >= self._limit:
                return found[: self._limit]
            lately = find_lately_tagged(self._connection, self._parameters, end, window)
            found, end = found + lately.ids, lately.horizon
        return self._all_by_tag(found, end)

    def _all_by_tag(self, found: list[UUID], end: UUID | None) -> list[UUID]:
        if end is not None and len(found) < self._limit:
            tagged = find_by_tag(self._connection, self._parameters, end)
            if tagged is not None:
                return (found + tagged)[: self._limit]
        return self._by_kind(found, end)

    def _by_kind(self, found: list[UUID], end: UUID | None) -> list[UUID]:
        window = self._limit
        while end is not None and len(found) < self._limit:
            if self._stops_at(end):
                break
            newest = self._newest_of_kinds(end, window)
            if newest is None:
                return self._go_on(found, end)
            found, end, window = found + newest.ids, newest.horizon, window * _GROWTH
        return found[: self._limit]

    def _newest_of_kinds(self, before: UUID, window: int) -> Found | None:
        window = min(window, MOST_OF_A_KIND)
        are_tagged = bool(self._wanted.tags)
        return find_by_kind(self._connection, self._parameters, before, window, are_tagged=are_tagged)

    def _go_on(self, found: list[UUID], end: UUID | None) -> list[UUID]:
        last_window = _LAST_SEARCH_WINDOW if self._wanted.search else _LAST_WINDOW
        window = _FIRST_WINDOW
        while end is not None and len(found) < self._limit:
            if self._stops_at(end):
                break
            window = min(window * _GROWTH, last_window)
            more = self._look_through(end, window)
            found, end = found + more.ids, more.horizon
        return found[: self._limit]

    def _stops_at(self, end: UUID) -> bool:
        """True when patience has ended; then that is where it did."""
        if monotonic() < self._until:
            return False
        self.stopped_at = end
        return True

    def _look_through(self, before: UUID, window: int) -> Found:
        return find_in_window(self._connection, self._parameters, before, window)


def _parameters(wanted: JobFilter) -> dict[str, Any]:
    escaped = None if wanted.search is None else _escaped(wanted.search)
    states = wanted.states or tuple(State)
    return {
        "idle_states": [state.value for state in states if state != State.RUNNING],
        "with_running": State.RUNNING in states,
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

"""Filters of jobs beside the list: as a document that can be kept, and how many jobs match."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store.finding import count_matching
from steeple.store.listing import JobFilter, find_ids, match_parameters, read_page
from steeple.store.reads import JobView

_TOOK_TOO_LONG = "57014"
_ENOUGH = 10_000
_SAMPLE = 10

COUNT_SECONDS = 2.0
"""For so long somebody who asks for a count, or makes an operation, is kept waiting for it."""

# How long the next statements may take, until the transaction ends or goes back to a savepoint.
_LIMIT_TIME = text("SELECT set_config('statement_timeout', :limit, true)")


def filter_document(wanted: JobFilter) -> dict[str, Any]:
    """A filter by the names that it has in the API, without what is not given."""
    given: dict[str, Any] = {
        "state": [state.value for state in wanted.states],
        "task": list(wanted.tasks),
        "queue": list(wanted.queues),
        "priority": [priority.value for priority in wanted.priorities],
        "tag": list(wanted.tags),
        "created_after": wanted.created_after and _text(wanted.created_after),
        "created_before": wanted.created_before and _text(wanted.created_before),
        "q": wanted.search,
    }
    return {name: value for name, value in given.items() if value}


def _text(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_filter(document: Mapping[str, Any]) -> JobFilter:
    """The filter that such a document stands for."""
    after, before = document.get("created_after"), document.get("created_before")
    return JobFilter(
        states=tuple(map(State, document.get("state", ()))),
        tasks=tuple(document.get("task", ())),
        queues=tuple(document.get("queue", ())),
        priorities=tuple(map(Priority, document.get("priority", ()))),
        tags=tuple(document.get("tag", ())),
        created_after=None if after is None else datetime.fromisoformat(after),
        created_before=None if before is None else datetime.fromisoformat(before),
        search=document.get("q"),
    )


def count_in_time(connection: Connection, wanted: JobFilter, patience: float) -> int | None:
    """How many jobs match; None if they cannot be counted in ``patience`` seconds. Needs a transaction."""
    trial = connection.begin_nested()
    try:
        connection.execute(_LIMIT_TIME, {"limit": f"{max(1, round(patience * 1000))}ms"})
        count = count_matching(connection, match_parameters(wanted))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _TOOK_TOO_LONG:
            raise
        count = None
    trial.rollback()
    return count


@dataclass(frozen=True)
class Preview:
    """``count`` jobs match, or at least so many if it ``is_exact`` not; ``sample``: the newest few of them."""

    count: int
    is_exact: bool
    sample: tuple[JobView, ...]


def preview(connection: Connection, wanted: JobFilter, *, patience: float = COUNT_SECONDS) -> Preview:
    """What matches now. Needs a transaction."""
    sample = read_page(connection, wanted, limit=_SAMPLE).jobs
    count = count_in_time(connection, wanted, patience)
    if count is not None:
        return Preview(count, is_exact=True, sample=sample)
    return Preview(_count_some(connection, wanted), is_exact=False, sample=sample)


def _count_some(connection: Connection, wanted: JobFilter) -> int:
    """So many match at least: they were found."""
    return len(find_ids(connection, wanted, limit=_ENOUGH).ids)

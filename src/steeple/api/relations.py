"""How jobs of one request name each other: by what each calls itself in it, its ``ref``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from steeple.api.strict_json import UnacceptableJson
from steeple.domain.job import NewJob
from steeple.errors import FieldError, InvalidJob, SteepleError

Refused = SteepleError | UnacceptableJson

_MOST_EDGES = 100_000
"""What all jobs of one request may wait for."""


@dataclass(frozen=True)
class Named:
    """``ref`` is what a job calls itself, ``after`` whom it waits for: refs, or ids of jobs that exist."""

    ref: str | None
    after: tuple[str, ...]


def relate(names: Sequence[Named | None], found: Sequence[NewJob | Refused]) -> list[NewJob | Refused]:
    """The jobs with their parents, where ``names`` says how they are called; what was refused stays so.

    Raises ``UnacceptableJson`` if it is too much for one request.
    """
    edges = sum(len(each.after) for each in names if each is not None)
    if edges > _MOST_EDGES:
        raise UnacceptableJson([FieldError("/jobs", f"wait for more than {_MOST_EDGES} jobs in all")])
    ids: dict[str, UUID] = {}
    related: list[NewJob | Refused] = []
    for named, job in zip(names, found, strict=True):
        if isinstance(job, NewJob) and named is not None and named.ref is not None:
            related.append(_call(job, named.ref, ids))
        else:
            related.append(job)
    return [
        _after(job, named.after, ids) if isinstance(job, NewJob) and named is not None and named.after else job
        for named, job in zip(names, related, strict=True)
    ]


def _call(job: NewJob, ref: str, ids: dict[str, UUID]) -> NewJob | InvalidJob:
    if _id(ref) is not None:
        return InvalidJob([FieldError("/ref", "must not look like a job's id")])
    if ids.setdefault(ref, job.id) != job.id:
        return InvalidJob([FieldError("/ref", "is that of another job in this request")])
    return job


def _after(job: NewJob, after: Sequence[str], ids: Mapping[str, UUID]) -> NewJob | InvalidJob:
    parents = [_id(each) or ids.get(each) for each in after]
    faults = [
        FieldError(f"/after/{place}", "is neither a job's id nor the ref of a job that this request can make")
        for place, parent in enumerate(parents)
        if parent is None
    ]
    return InvalidJob(faults) if faults else replace(job, after=tuple(each for each in parents if each is not None))


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

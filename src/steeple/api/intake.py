"""From the text of a request to jobs that may be stored: read strictly, checked by their task, with their key."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from pydantic import ValidationError

from steeple.api import strict_json
from steeple.api.bodies import apart
from steeple.api.keyring import Caller
from steeple.api.known_tasks import KnownTask, KnownTasks, require
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, refusal
from steeple.api.relations import Named, relate
from steeple.api.requests import MOST_BATCH_JOBS, BatchJobRequest, SubmitRequest
from steeple.api.strict_json import NotJson, UnacceptableJson
from steeple.domain.job import Idempotency, NewJob
from steeple.domain.priority import Priority
from steeple.errors import FieldError, InvalidJob, SteepleError
from steeple.faults import field_errors, token
from steeple.submission import leaves_priority, new_job

_LONGEST_KEY = 255
_TURN = 100
_MOST_MEMBERS = 50
"""Far more than a job has; each one too many is a fault to be told."""

_NOT_AN_OBJECT = "is not an object"

Refused = SteepleError | UnacceptableJson
R = TypeVar("R", SubmitRequest, BatchJobRequest)


@dataclass(frozen=True)
class Asked:
    """A request for a job. ``args`` is its text, number for number."""

    request: SubmitRequest | BatchJobRequest
    args: str


def read_submit(text: str) -> Asked:
    """Raises ``NotJson``, ``UnacceptableJson``, ``InvalidJob``."""
    members = strict_json.read_members(text)
    if members is None:
        raise UnacceptableJson([FieldError("", _NOT_AN_OBJECT)])
    return Asked(_checked(SubmitRequest, text, members.keys()), members["args"])


def read_batch(text: str) -> list[Asked | Refused]:
    """What is asked for, or why not, in order. Raises ``NotJson``, ``UnacceptableJson``."""
    document = strict_json.parse(text)
    if not isinstance(document, dict):
        raise UnacceptableJson(strict_json.faults(document) or [FieldError("", _NOT_AN_OBJECT)])
    jobs = document.pop("jobs", None)
    if document:
        raise UnacceptableJson(_unknown(document))
    if not isinstance(jobs, list) or len(jobs) > MOST_BATCH_JOBS:
        raise UnacceptableJson([FieldError("/jobs", f"is not a list of up to {MOST_BATCH_JOBS} jobs")])
    texts = strict_json.item_texts(strict_json.member_texts(text)["jobs"])
    return [_read_item(number, *item) for number, item in enumerate(zip(jobs, texts, strict=True))]


def _read_item(number: int, value: object, text: str) -> Asked | Refused:
    try:
        found = strict_json.faults(value)
    except NotJson as error:
        raise NotJson(error.detail, f"/jobs/{number}{error.pointer}") from None
    if not found and not isinstance(value, dict):
        found = [FieldError("", _NOT_AN_OBJECT)]
    if found:
        return UnacceptableJson(found)
    members = strict_json.member_texts(text)
    try:
        return Asked(_checked(BatchJobRequest, text, members.keys()), members["args"])
    except (InvalidJob, UnacceptableJson) as error:
        return error


def _checked(model: type[R], text: str, names: Set[str]) -> R:
    if len(names) > _MOST_MEMBERS:
        raise UnacceptableJson(_unknown(name for name in names if name not in model.model_fields))
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidJob(field_errors(error, json.loads(text))) from None


def _unknown(names: Iterable[str]) -> list[FieldError]:
    return [FieldError(token(name), "is not known here") for name in islice(names, _MOST_MEMBERS)]


class Intake:
    """Makes jobs of what is asked for. ``queue_priorities`` gives those of queues that have one of their own."""

    def __init__(
        self, tasks: KnownTasks, limit: int, queue_priorities: Callable[[], Awaitable[Mapping[str, Priority]]]
    ) -> None:
        self._tasks = tasks
        self._limit = limit
        self._queue_priorities = queue_priorities

    async def job(self, asked: Asked, idempotency: Idempotency | None) -> NewJob:
        """Raises ``UnknownTask``, ``InvalidArguments``, ``TooLarge``."""
        task = await self._tasks.find(asked.request.task)
        is_left = leaves_priority(task.record, asked.request)
        priorities = await self._queue_priorities() if is_left else {}
        return await apart(asked.args, lambda _: self._job(task, asked, idempotency, priorities))

    async def jobs(self, asked: list[Asked | Refused], keys: Iterable[Idempotency | None]) -> list[NewJob | Refused]:
        """As ``job`` for each of many. Other requests have their turn meanwhile."""
        names = {each.request.task for each in asked if isinstance(each, Asked)}
        tasks = await self._tasks.find_all(names)
        priorities = await self._queue_priorities()
        found: list[NewJob | Refused] = []
        for each, key in zip(asked, keys, strict=False):
            if len(found) % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            try:
                if isinstance(each, Asked):
                    found.append(self._job(require(tasks, each.request.task), each, key, priorities))
                else:
                    found.append(each)
            except SteepleError as error:
                found.append(error)
        named = [_named(each) for each in asked]
        return relate(named, found) if any(named) else found

    def _job(
        self, task: KnownTask, asked: Asked, idempotency: Idempotency | None, priorities: Mapping[str, Priority]
    ) -> NewJob:
        request = asked.request
        job = new_job(
            task.record,
            asked.args,
            request,
            limit=self._limit,
            idempotency=idempotency,
            queue_priorities=priorities,
            after=request.after if isinstance(request, SubmitRequest) else (),
        )
        task.check(asked.args)
        return job


def _named(asked: Asked | Refused) -> Named | None:
    """What a job of a batch is called in it, and whom it names; None if neither."""
    if not isinstance(asked, Asked) or not isinstance(asked.request, BatchJobRequest):
        return None
    ref, after = asked.request.ref, asked.request.after
    return Named(ref, tuple(after)) if ref is not None or after else None


@dataclass(frozen=True)
class RequestKey:
    """An ``Idempotency-Key`` of a caller, and the hash of the request that came with it."""

    owner: str
    key: str
    request_hash: bytes

    def single(self) -> Idempotency:
        return Idempotency(self.owner, self.key, self.request_hash)

    def of_each(self) -> Iterator[Idempotency]:
        """One for each job of a batch. No header can hold the character that keeps them apart from others."""
        number = 0
        while True:
            yield Idempotency(self.owner, f"{self.key}\x1f{number}", self.request_hash)
            number += 1


def request_key(headers: Mapping[bytes, bytes], caller: Caller, text: str) -> RequestKey | None:
    """The key that came with a request of this JSON text, None without one. Raises ``Refusal``."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    if not (given.isascii() and given.decode("ascii").isprintable() and 0 < len(given) <= _LONGEST_KEY):
        detail = f"must be 1 to {_LONGEST_KEY} printable ASCII characters"
        raise refusal(Kind.INVALID_REQUEST, f"Idempotency-Key {detail}", Fault("/Idempotency-Key", detail, "header"))
    return RequestKey(caller.name, given.decode("ascii"), _hash(text))


def _hash(text: str) -> bytes:
    """The same for texts that differ in space and the order of members only."""
    canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()

"""From the text of a request to jobs that may be stored: read strictly, checked by their task, with their key."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from steeple.api import strict_json
from steeple.api.bodies import is_large
from steeple.api.keyring import Caller
from steeple.api.known_tasks import KnownTask, KnownTasks, require
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, refusal
from steeple.api.requests import MOST_BATCH_JOBS, SubmitRequest
from steeple.api.strict_json import UnacceptableJson
from steeple.domain.job import Idempotency, NewJob
from steeple.errors import FieldError, InvalidJob, SteepleError
from steeple.faults import field_errors, token
from steeple.submission import new_job

_LONGEST_KEY = 255
_TURN = 100
_NOT_AN_OBJECT = "is not an object"

Refused = SteepleError | UnacceptableJson


@dataclass(frozen=True)
class Asked:
    """A request for a job. ``args`` is its text, number for number."""

    request: SubmitRequest
    args: str


async def read_submit(text: str) -> Asked:
    """Raises ``NotJson``, ``UnacceptableJson``, ``InvalidJob``."""
    return await asyncio.to_thread(_read_submit, text) if is_large(text) else _read_submit(text)


def _read_submit(text: str) -> Asked:
    members = strict_json.read_members(text)
    if members is None:
        raise UnacceptableJson([FieldError("", _NOT_AN_OBJECT)])
    return Asked(_checked(text), members["args"])


def _checked(text: str) -> SubmitRequest:
    try:
        return SubmitRequest.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidJob(field_errors(error, json.loads(text))) from None


async def read_batch(text: str) -> list[Asked | Refused]:
    """What is asked for, or why not, in order. Raises ``NotJson``, ``UnacceptableJson``."""
    return await asyncio.to_thread(_read_batch, text) if is_large(text) else _read_batch(text)


def _read_batch(text: str) -> list[Asked | Refused]:
    document = strict_json.parse(text)
    if not isinstance(document, dict):
        raise UnacceptableJson(strict_json.faults(document) or [FieldError("", _NOT_AN_OBJECT)])
    jobs = document.get("jobs")
    others = [FieldError(token(name), "is not known here") for name in document if name != "jobs"]
    if others or not isinstance(jobs, list) or len(jobs) > MOST_BATCH_JOBS:
        raise UnacceptableJson(others or [FieldError("/jobs", f"is not a list of up to {MOST_BATCH_JOBS} jobs")])
    texts = strict_json.item_texts(strict_json.member_texts(text)["jobs"])
    return [_read_item(value, each) for value, each in zip(jobs, texts, strict=True)]


def _read_item(value: object, text: str) -> Asked | Refused:
    found = strict_json.faults(value)
    if not found and not isinstance(value, dict):
        found = [FieldError("", _NOT_AN_OBJECT)]
    if found:
        return UnacceptableJson(found)
    try:
        return Asked(_checked(text), strict_json.member_texts(text)["args"])
    except InvalidJob as error:
        return error


class Intake:
    """Makes jobs of what is asked for."""

    def __init__(self, tasks: KnownTasks, limit: int) -> None:
        self._tasks = tasks
        self._limit = limit

    async def job(self, asked: Asked, idempotency: Idempotency | None) -> NewJob:
        """Raises ``UnknownTask``, ``InvalidArguments``, ``TooLarge``."""
        return self._job(await self._tasks.find(asked.request.task), asked, idempotency)

    async def jobs(self, asked: list[Asked | Refused], keys: Iterable[Idempotency | None]) -> list[NewJob | Refused]:
        """As ``job`` for each of many. Other requests have their turn meanwhile."""
        names = {each.request.task for each in asked if isinstance(each, Asked)}
        tasks = await self._tasks.find_all(names)
        found: list[NewJob | Refused] = []
        for each, key in zip(asked, keys, strict=False):
            if len(found) % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            try:
                found.append(self._job_of(tasks, each, key) if isinstance(each, Asked) else each)
            except SteepleError as error:
                found.append(error)
        return found

    def _job_of(self, tasks: Mapping[str, KnownTask], asked: Asked, idempotency: Idempotency | None) -> NewJob:
        return self._job(require(tasks, asked.request.task), asked, idempotency)

    def _job(self, task: KnownTask, asked: Asked, idempotency: Idempotency | None) -> NewJob:
        job = new_job(task.record, asked.args, asked.request, limit=self._limit, idempotency=idempotency)
        task.check(asked.args)
        return job


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

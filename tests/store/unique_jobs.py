"""Submits of jobs with a unique key, and what came of them."""

from typing import Any

from playground import Playground, at
from steeple.domain.job import NewJob
from steeple.domain.unique import OnConflict
from steeple.errors import UniqueKeyHeld
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.submission import new_id


def job(**fields: Any) -> NewJob:
    return NewJob(new_id(), **({"task": "t", "args": "{}", "unique_key": "u"} | fields))


def insert(playground: Playground, *jobs: NewJob, seconds: float = 0.0) -> list[Answer]:
    with playground.engine.begin() as connection:
        return insert_jobs(connection, jobs, now=at(seconds))


def submit(playground: Playground, *, seconds: float = 0.0, **fields: Any) -> Answer:
    return insert(playground, job(**fields), seconds=seconds)[0]


def holder_of(answer: Answer) -> str:
    assert isinstance(answer, UniqueKeyHeld)
    return answer.job_id


def came_to(answer: Answer) -> tuple[str, OnConflict | None]:
    assert isinstance(answer, Accepted)
    return str(answer.id), answer.way

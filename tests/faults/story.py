"""Histories written by hand, one step of a job after the other, a tenth of a second apart; for tests of the checker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from checker import check
from history import Answer, Call, Effect, History, Reply, Rest, Round, Row, Transition, WorkerLine

from steeple.domain.states import State

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)


class Story:
    """Each method adds one line, as the product would write it; ``changes`` bend it."""

    def __init__(self) -> None:
        self.now = START
        self._transitions: list[Transition] = []
        self._workers: list[WorkerLine] = []
        self._effects: list[Effect] = []
        self._replies: list[Reply] = []
        self._rounds: list[Round] = []
        self._rests: list[Rest] = []
        self._rows: dict[UUID, Row] = {}

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def submit(self, **fields: Any) -> UUID:
        job_id = uuid4()
        return self._write(job_id, replace(Row(State.PENDING, 0, run_at=self.now), **fields))

    def claim(self, job_id: UUID, worker_id: UUID = ALICE, *, txid: int = 0, **changes: Any) -> int:
        """Gives the fence. ``txid`` is that of the transaction: what is claimed together is in one."""
        row = self._rows[job_id]
        started = {"state": State.RUNNING, "fence": row.fence + 1, "attempt": row.attempt + 1, "worker_id": worker_id}
        self.change(job_id, **started | {"slot": 0, "started_at": self.now} | changes)
        self._transitions[-1] = replace(self._transitions[-1], txid=txid)
        return self._rows[job_id].fence

    def finish(self, job_id: UUID, state: State = State.SUCCESS, **changes: Any) -> None:
        named = {} if state is State.CANCELLED else {"fence_named": self._rows[job_id].fence, "result": "…"}
        self.change(job_id, **{"state": state} | named | changes)

    def release(self, job_id: UUID, **changes: Any) -> None:
        row = self._rows[job_id]
        back = {"state": State.PENDING, "fence": row.fence + 1, "attempt": row.attempt - 1, "started_at": None}
        self.change(job_id, **back | {"worker_id": None, "slot": None} | changes)

    def rescue(self, job_id: UUID, **changes: Any) -> None:
        row = self._rows[job_id]
        spent = row.crashes + 1 >= 3 or row.attempt >= row.max_attempts
        taken = {"state": State.FAILED if spent else State.PENDING, "fence": row.fence + 1, "crashes": row.crashes + 1}
        self.change(job_id, **taken | changes)

    def cancel(self, job_id: UUID, **changes: Any) -> None:
        self.change(job_id, **{"state": State.CANCELLED, "fence": self._rows[job_id].fence + 1} | changes)

    def retry(self, job_id: UUID, **changes: Any) -> None:
        row = self._rows[job_id]
        anew = {"state": State.PENDING, "fence": row.fence + 1, "attempt": 0, "crashes": 0, "worker_id": None}
        self.change(
            job_id,
            **anew | {"result": None, "fence_named": None, "is_cancel_requested": False, "run_at": self.now} | changes,
        )

    def change(self, job_id: UUID, **changes: Any) -> None:
        self._write(job_id, replace(self._rows[job_id], **changes))

    def delete(self, job_id: UUID) -> None:
        self._add(job_id, self._rows.pop(job_id), None)

    def worker(self, worker_id: UUID, *, ended: bool | None) -> None:
        self._tick()
        self._workers.append(WorkerLine(len(self._workers), self.now, worker_id, ended))

    def effect(self, job_id: UUID, *, seconds: float | None = 0.05, **changes: Any) -> None:
        """The task of the running claim runs from now on. ``seconds`` None: it has no end."""
        row = self._rows[job_id]
        until = None if seconds is None else self.now + timedelta(seconds=seconds)
        self._effects.append(replace(Effect(job_id, row.attempt, row.fence, 1, self.now, until), **changes))

    def round(self) -> None:
        """The attendant of Alice's slot looks after what waits there."""
        self._rounds.append(Round(ALICE, 0, self.now, self.now + timedelta(seconds=0.05), self.now))
        self._tick()

    def rest(self) -> None:
        """Alice's slot has nothing more to do."""
        self._rests.append(Rest(ALICE, 0, self.now))
        self._tick()

    def reply(self, call: Call, *job_ids: UUID, answer: Answer = Answer.ACCEPTED, **fields: Any) -> None:
        asked_at = fields.pop("asked_at", self.now)
        self._tick()
        self._replies.append(Reply(call, answer, asked_at, self.now, job_ids, **fields))

    def history(self, **facts: Any) -> History:
        workers, effects, replies = tuple(self._workers), tuple(self._effects), tuple(self._replies)
        turns: dict[str, Any] = {"rounds": tuple(self._rounds), "rests": tuple(self._rests)}
        return History(tuple(self._transitions), workers, effects, replies, **turns | facts)

    def _write(self, job_id: UUID, after: Row) -> UUID:
        before = self._rows.get(job_id)
        self._rows[job_id] = after
        self._add(job_id, before, after)
        return job_id

    def _add(self, job_id: UUID, before: Row | None, after: Row | None) -> None:
        self._transitions.append(Transition(len(self._transitions) + 1, self.now, job_id, before, after))
        self._tick()

    def _tick(self) -> None:
        self.pass_time(0.1)


def broken(story: Story, **facts: Any) -> set[str]:
    """The rules that the story breaks."""
    return {violation.rule for violation in check(story.history(**facts))}

"""One row of the table of faults: clients at work on a fleet, something breaks, is healed, and the checker speaks."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from checker import assert_holds
from crowd import MIX, Crowd, Mix
from fault_tasks import read_effects, read_lines
from fleet import PATIENCE, Fleet, Servers
from history import Call, Effect, History
from pulse import Pulse
from recorder import Journal, Recorder

from parts import Part
from steeple.embedded.processes import wait_until

_TIMEOUT = 15.0

_UNDER_WAY = 20
"""So many jobs are accepted before anything breaks."""

_LEFT = "SELECT id, state, task, attempt, run_at FROM jobs WHERE state IN ('PENDING', 'RUNNING') LIMIT 5"

_DROPPED = "SELECT COALESCE(sum(value), 0) FROM counters WHERE name = 'dropped_wake_ups'"


class Stage:
    """``journal`` and ``effects`` are this row's own; of the fleet's earlier rows nothing is left."""

    def __init__(self, fleet: Fleet, servers: Servers, recorder: Recorder, effects: Path) -> None:
        self.fleet = fleet
        self.servers = servers
        self.journal = Journal()
        self.effects = effects
        self._forged = 0
        self._barriers = (effects.with_name(f"let_go_{number}") for number in itertools.count())
        self._barrier = next(self._barriers)
        self.history = History()
        """Of the load that ended last."""
        self._recorder = recorder
        servers.query("DELETE FROM jobs")
        servers.query("DELETE FROM counters")
        recorder.forget()

    @contextmanager
    def load(self, mix: Mix = MIX, clients: int = 3) -> Iterator[Crowd]:
        """Clients at work for the length of the block; at its end they stop, all is healed, drained and checked."""
        crowd = Crowd(self.fleet.urls, self.journal, self.effects, mix, clients)
        pulse = Pulse(self.journal.stood_still)
        crowd.start()
        pulse.start()
        try:
            self.progress(crowd, _UNDER_WAY)
            yield crowd
            self.fleet.heal()
        finally:
            crowd.dismiss()
            pulse.stop()
        crowd.stop()
        self.history = self.close()

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Something is broken for the length of the block; nothing is promised about times until it is healed."""
        with self.journal.trouble(after=timedelta(seconds=5)):
            yield

    def close(self) -> History:
        """Heal, wait until every job has ended, and check all that was promised."""
        self.fleet.heal()
        self.journal.healed()
        assert wait_until(self.has_drained, PATIENCE), (self.servers.query(_LEFT), self.fleet.said)
        history = self._recorder.history(self.journal, self.effects)
        assert_holds(history)
        return history

    def forged(self, messages: int) -> None:
        """So many were put into the broker that are no wake-ups."""
        self.journal.forged(messages)
        self._forged += messages

    def has_drained(self) -> bool:
        """Every job has ended, and what was forged has been seen through."""
        return not self.servers.query(_LEFT) and int(str(self.value(_DROPPED))) >= self._forged

    def progress(self, crowd: Crowd, jobs: int = 30, patience: float = PATIENCE) -> None:
        """Return when so many more submits have been accepted, and as many jobs have ended."""
        accepted, ended = crowd.accepted + jobs, self.ended() + jobs
        assert wait_until(lambda: crowd.accepted >= accepted and self.ended() >= ended, patience), (
            f"{crowd.accepted} of {accepted} submits accepted, {self.ended()} of {ended} jobs ended",
            self.fleet.said,
        )

    def accepts(self, crowd: Crowd, jobs: int = 15) -> None:
        """Return when so many more submits have been accepted, whatever becomes of them."""
        accepted = crowd.accepted + jobs
        assert wait_until(lambda: crowd.accepted >= accepted, PATIENCE), self.fleet.said

    def sleep(self, seconds: float) -> None:
        """Where the passing of time is itself what is tested."""
        time.sleep(seconds)

    def ended(self) -> int:
        """How many jobs have."""
        return int(str(self.value("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")))

    def value(self, statement: str, *parameters: object) -> object:
        return self.servers.query(statement, *parameters)[0][0]

    def submit(self, task: str, args: dict[str, object] | None = None, **options: object) -> UUID:
        """By a client that is told at once."""
        body = {"task": task, "args": {"effects": str(self.effects)} | (args or {})} | options
        with self.journal.asking(Call.SUBMIT) as asked:
            reply = httpx2.post(f"{self._url}/v1/jobs", json=body, trust_env=False, timeout=_TIMEOUT)
            assert reply.status_code == 202, reply.text
            job_id = UUID(reply.json()["id"])
            asked.replied(reply.status_code, job_id)
        return job_id

    def body(self, task: str, args: dict[str, object] | None = None, **options: object) -> str:
        """Of a request for a job."""
        return json.dumps({"task": task, "args": {"effects": str(self.effects)} | (args or {})} | options)

    def post(self, body: str, key: str) -> httpx2.Response:
        """Ask for a job under an idempotency key."""
        with self.journal.asking(Call.SUBMIT, idempotency=("client", key), request=body) as asked:
            headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
            reply = httpx2.post(
                f"{self._url}/v1/jobs", content=body, headers=headers, trust_env=False, timeout=_TIMEOUT
            )
            asked.replied(reply.status_code, *([reply.json()["id"]] if reply.is_success else []))
        return reply

    def submit_anyhow(self, task: str, **options: object) -> int:
        """By a client that gives up at once; the status of the answer, 500 for none."""
        body = {"task": task, "args": {"effects": str(self.effects)}} | options
        with self.journal.asking(Call.SUBMIT) as asked:
            try:
                reply = httpx2.post(f"{self._url}/v1/jobs", json=body, trust_env=False, timeout=_TIMEOUT)
            except httpx2.TransportError:
                return 500
            asked.replied(reply.status_code, *([reply.json()["id"]] if reply.is_success else []))
        return reply.status_code

    def submit_batch(self, task: str, count: int) -> list[UUID]:
        job = {"task": task, "args": {"effects": str(self.effects)}}
        with self.journal.asking(Call.SUBMIT) as asked:
            url = f"{self._url}/v1/jobs/batch"
            reply = httpx2.post(url, json={"jobs": [job] * count}, trust_env=False, timeout=_TIMEOUT)
            assert reply.status_code == 202, reply.text
            ids = [UUID(each["id"]) for each in reply.json()["jobs"]]
            asked.replied(reply.status_code, *ids)
        return ids

    def cancel(self, job_id: UUID) -> int:
        """The status of the answer."""
        return self._ask(Call.CANCEL, job_id)

    def retry(self, job_id: UUID) -> int:
        return self._ask(Call.RETRY, job_id)

    def job(self, job_id: UUID) -> dict[str, Any]:
        """As the database has it."""
        row = self.value("SELECT row_to_json(jobs) FROM jobs WHERE id = %s", job_id)
        assert isinstance(row, dict)
        return row

    def runs(self, job_id: UUID) -> list[Effect]:
        """Its runs so far, as the task noted them."""
        return [effect for effect in read_effects(self.effects) if effect.job_id == job_id]

    def has_begun(self, job_id: UUID, runs: int = 1) -> bool:
        return len(self.runs(job_id)) >= runs

    def begun(self, task: str, args: dict[str, object] | None = None, **options: object) -> UUID:
        """A job that runs by now."""
        job_id = self.submit(task, args, **options)
        assert wait_until(lambda: self.has_begun(job_id), PATIENCE), (self.job(job_id), self.fleet.said)
        return job_id

    def held(self, **options: object) -> UUID:
        """A job that runs by now, before others, and will not end before ``let_go``."""
        return self.begun("fault.work", {"until": str(self._barrier)}, **({"priority": "high"} | options))

    def let_go(self) -> None:
        """What is ``held`` so far may end, now and in any later attempt."""
        self._barrier.touch()
        self._barrier = next(self._barriers)

    def slot_of(self, job_id: UUID) -> int:
        """The process of its first run."""
        return self.runs(job_id)[0].pid

    def worker_of(self, job_id: UUID) -> Part:
        """The worker of its first run, if it still lives."""
        slot = self.slot_of(job_id)
        return next(worker for worker in self.fleet.workers if slot in worker.children())

    def spawned(self, job_id: UUID) -> list[int]:
        """The processes that its task noted as its own children."""
        lines = [line for line in read_lines(self.effects) if line["job"] == str(job_id)]
        return [pid for line in lines if line["what"] == "spawned" for pid in line["pids"]]

    def has_ended(self, job_id: UUID) -> bool:
        return self.job(job_id)["finished_at"] is not None

    def wait_ended(self, job_id: UUID, patience: float = PATIENCE) -> dict[str, Any]:
        assert wait_until(lambda: self.has_ended(job_id), patience), (self.job(job_id), self.fleet.said)
        return self.job(job_id)

    def _ask(self, call: Call, job_id: UUID) -> int:
        with self.journal.asking(call, job_id) as asked:
            url = f"{self._url}/v1/jobs/{job_id}/{call}"
            reply = httpx2.post(url, trust_env=False, timeout=_TIMEOUT)
            asked.replied(reply.status_code, job_id)
        return reply.status_code

    @property
    def _url(self) -> str:
        return self.fleet.urls()[0]

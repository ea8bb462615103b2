"""Clients at work: they submit, look, cancel and retry over HTTP, try again as clients do, and note every answer."""

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import httpx2
from history import Call
from recorder import Journal

_TIMEOUT = 5.0
_BETWEEN_JOBS = 0.03
_BETWEEN_TRIES = 0.1
_PATIENCE = 40.0
"""How long a client goes on about a submit whose outcome it does not know, once the work is over."""

Mix = Sequence[tuple[int, str, dict[str, Any]]]
"""How often, what, with which arguments."""

MIX: Mix = (
    (50, "fault.work", {}),
    (15, "fault.work", {"seconds": 0.1}),
    (10, "fault.flaky", {"failures": 1}),
    (8, "fault.wait", {"seconds": 0.05}),
    (5, "fault.sleep", {"seconds": 0.2}),
    (3, "fault.flaky", {"failures": 9}),
    (3, "fault.reject", {}),
    (1, "fault.crash", {"times": 1}),
)

CALM: Mix = (
    (60, "fault.work", {}),
    (20, "fault.work", {"seconds": 0.1}),
    (10, "fault.wait", {"seconds": 0.05}),
    (10, "fault.sleep", {"seconds": 0.3}),
)
"""Nothing that fails by itself."""


@dataclass(frozen=True)
class Request:
    """A submit; the same however often it is tried."""

    key: str
    body: str


class Crowd:
    """Some clients, each a thread. ``urls`` gives the addresses of the api, of which each call takes one."""

    def __init__(
        self, urls: Callable[[], Sequence[str]], journal: Journal, effects: Path, mix: Mix = MIX, clients: int = 3
    ) -> None:
        self._stop = threading.Event()
        self._clients = [
            Client(urls, journal, effects, mix, f"client-{number}", random.Random(number), self._stop)
            for number in range(clients)
        ]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def dismiss(self) -> None:
        """No more jobs."""
        self._stop.set()

    def stop(self) -> None:
        """No more jobs; each client finds out what became of its last."""
        self.dismiss()
        for client in self._clients:
            client.join(_PATIENCE + 2 * _TIMEOUT)
            assert not client.is_alive(), f"{client.name} still waits for an answer"

    @property
    def accepted(self) -> int:
        """How many submits were answered with 2xx."""
        return sum(len(client.accepted) for client in self._clients)


class Client(threading.Thread):
    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        journal: Journal,
        effects: Path,
        mix: Mix,
        name: str,
        chance: random.Random,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._urls = urls
        self._journal = journal
        self._effects = str(effects)
        self._mix = mix
        self._chance = chance
        self._is_over = stop
        self._http = httpx2.Client(timeout=_TIMEOUT, trust_env=False)
        self._submits = 0
        self.accepted: list[str] = []

    def run(self) -> None:
        while not self._is_over.wait(self._chance.uniform(0, 2 * _BETWEEN_JOBS)):
            self.submit_until_known(self.think_of_one())
            if self.accepted and self._mix is not CALM and self._chance.random() < 0.1:
                self._meddle(self._chance.choice(self.accepted[-30:]))
        self._http.close()

    def think_of_one(self) -> Request:
        _, task, args = self._chance.choices(self._mix, [weight for weight, *_ in self._mix])[0]
        self._submits += 1
        fields: dict[str, Any] = {"task": task, "args": args | {"effects": self._effects}}
        if self._mix is not CALM and self._chance.random() < 0.3:
            fields["priority"] = self._chance.choice(["high", "low"])
        if self._chance.random() < 0.1:
            fields["delay"] = round(self._chance.uniform(0.1, 1.0), 2)
        return Request(f"{self.name}-{self._submits}", json.dumps(fields))

    def submit_until_known(self, request: Request) -> None:
        """Try until the api has said yes or no."""
        deadline: float | None = None
        while not self.submit(request):
            if self._is_over.is_set():
                deadline = deadline or monotonic() + _PATIENCE
                if monotonic() > deadline:
                    return
            threading.Event().wait(_BETWEEN_TRIES)

    def submit(self, request: Request) -> bool:
        """One try; True if its outcome is known."""
        with self._journal.asking(Call.SUBMIT, idempotency=(self.name, request.key), request=request.body) as asked:
            reply = self._post("/v1/jobs", content=request.body, headers=_headers(request.key))
            if reply is None:
                return False
            job_id = reply.json()["id"] if reply.is_success else None
            asked.replied(reply.status_code, *([job_id] if job_id else []))
        if job_id is not None:
            self.accepted.append(job_id)
        return reply.status_code < 500 and reply.status_code != httpx2.codes.TOO_MANY_REQUESTS

    def _meddle(self, job_id: str) -> None:
        """Look at a job, cancel it or have it run again. Not repeated: whether it took effect may stay open."""
        call = self._chance.choice([Call.SHOW, Call.CANCEL, Call.RETRY])
        with self._journal.asking(call, UUID(job_id)) as asked:
            path = f"/v1/jobs/{job_id}"
            reply = self._get(path) if call is Call.SHOW else self._post(f"{path}/{call}")
            if reply is not None:
                asked.replied(reply.status_code, job_id, state=reply.json()["state"] if reply.is_success else None)

    def _post(self, path: str, **options: Any) -> httpx2.Response | None:
        return self._send("POST", path, **options)

    def _get(self, path: str) -> httpx2.Response | None:
        return self._send("GET", path)

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """None if there was no answer, or nobody to ask."""
        urls = self._urls()
        if not urls:
            return None
        try:
            return self._http.request(method, self._chance.choice(urls) + path, **options)
        except httpx2.TransportError:
            return None


def _headers(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key, "Content-Type": "application/json"}

"""Clients that repeat themselves, hang up, change their minds; at the worst moment."""

import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import httpx2
import pytest
from history import Call
from stage import Stage

from steeple.embedded.processes import wait_until

PATIENCE = 30.0
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


def test_the_same_idempotency_key_fifty_times_at_once(stage: Stage) -> None:
    """Half of them ask for something else under it."""
    bodies = [stage.body("fault.work", {"seconds": seconds}) for seconds in (0.0, 0.01)]
    barrier = threading.Barrier(50)

    def submit(number: int) -> httpx2.Response:
        barrier.wait(PATIENCE)
        return stage.post(bodies[number % 2], key="the same")

    with stage.load(), ThreadPoolExecutor(50) as clients:
        replies = list(clients.map(submit, range(50)))
    accepted = [reply for reply in replies if reply.status_code == 202]
    first = [reply for reply in accepted if "Idempotent-Replayed" not in reply.headers]
    assert len(first) == 1
    assert len(accepted) == 25
    assert {reply.json()["id"] for reply in accepted} == {first[0].json()["id"]}
    assert {reply.status_code for reply in replies} == {202, 422}


def test_a_client_that_drops_after_its_post_and_repeats_it(stage: Stage) -> None:
    with stage.load():
        replies = []
        for number in range(20):
            body, key = stage.body("fault.work"), f"dropped {number}"
            with stage.journal.asking(Call.SUBMIT, idempotency=("client", key), request=body):
                _post_and_hang_up(stage, body, key)
            replies.append(stage.post(body, key))
    assert {reply.status_code for reply in replies} == {202}
    assert any("Idempotent-Replayed" in reply.headers for reply in replies)
    jobs = "SELECT count(*) FROM jobs WHERE idempotency_key LIKE 'dropped %'"
    assert stage.value(jobs) == 20


@pytest.mark.soak
def test_cancel_races_finish(stage: Stage) -> None:
    """Again with longer tasks where the machine is too slow for any to be met while it runs."""
    chance = random.Random(7)

    def cancel_about_when_it_ends(seconds: float) -> int:
        job_id = stage.submit("fault.work", {"seconds": seconds}, priority="high")
        wait_until(lambda: stage.has_begun(job_id), PATIENCE)
        stage.sleep(chance.uniform(0, 2 * seconds))
        return stage.cancel(job_id)

    answers: list[int] = []
    with stage.load(), ThreadPoolExecutor(3) as clients:
        for seconds in (0.15, 0.15, 0.6, 2.4):
            if set(answers) != {202, 409}:
                answers += clients.map(cancel_about_when_it_ends, [seconds] * 12)
    assert set(answers) == {202, 409}


@pytest.mark.soak
def test_manual_retry_races_a_stale_worker(stage: Stage) -> None:
    """The worker that comes back had the job before another one had it, and before somebody had it run again."""
    with stage.load():
        job_id = stage.held()
        worker = stage.worker_of(job_id)
        family = [worker.pid, *worker.children()]
        with stage.trouble():
            for pid in family:
                os.kill(pid, signal.SIGSTOP)
            assert wait_until(lambda: stage.has_begun(job_id, runs=2), PATIENCE)
            assert stage.cancel(job_id) == 202
            assert stage.wait_ended(job_id)["state"] == "CANCELLED"
            at_once: list[Callable[[], object]] = [lambda: stage.retry(job_id), stage.let_go]
            at_once += [partial(os.kill, pid, signal.SIGCONT) for pid in family]
            with ThreadPoolExecutor(len(at_once)) as hands:
                list(hands.map(lambda act: act(), at_once))
            job = stage.wait_ended(job_id)
    assert (job["state"], job["attempt"]) == ("SUCCESS", 1)
    assert job["result"] == {"fence": job["fence"]}


def _post_and_hang_up(stage: Stage, body: str, key: str) -> None:
    """The request goes out whole; nobody waits for the answer."""
    address = urlsplit(stage.fleet.urls()[0])
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((str(address.hostname), int(str(address.port)))) as connection:
        connection.sendall((head + body).encode())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)

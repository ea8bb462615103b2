"""Both drivers against a real server: the same tests, once blocking and once in an event loop."""

import asyncio
import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from contract_api import Memory, Refusal
from test_wire import JOB

from steeple.client import (
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    Job,
    JobNotFound,
    TransportError,
    Unauthorized,
    Unavailable,
    WaitTimeout,
    wire,
)
from steeple.embedded.processes import wait_until

UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"


class Blocking:
    """``AsyncClient`` with the face of ``Client``, so that one test tells about both."""

    def __init__(self, url: str, api_key: str | None = None, **options: Any) -> None:
        self._loop = asyncio.Runner()
        self._client = AsyncClient(url, api_key, **options)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self._loop.run(getattr(self._client, name)(*args, **options))

    def jobs(self, **filters: Any) -> list[Job]:
        async def collect() -> list[Job]:
            return [job async for job in self._client.jobs(**filters)]

        return self._loop.run(collect())

    def __enter__(self) -> "Blocking":
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._client.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """How they grow is tested where they are reckoned."""
    monkeypatch.setattr(wire, "FIRST_PAUSE", 0.01)


@pytest.fixture(params=["sync", "aio"])
def kind(request: pytest.FixtureRequest) -> Any:
    return Client if request.param == "sync" else Blocking


@pytest.fixture
def client(kind: Any, api_url: str) -> Iterator[Any]:
    with kind(api_url) as client:
        yield client


def test_a_job_is_submitted_and_waited_for(client: Any) -> None:
    job = client.submit("demo.add", {"a": 1, "b": 2}, tags=["t"], priority="high")
    assert (job.state, job.tags, job.priority) == ("PENDING", ("t",), "high")
    ended = client.wait(job.id, timeout=10)
    assert (ended.id, ended.state, ended.result) == (job.id, "SUCCESS", 3)
    assert client.get(job.id).is_finished


def test_a_failed_job_ends_a_wait_and_says_why(client: Any) -> None:
    job = client.wait(client.submit("demo.fail", {"message": "no"}, max_attempts=1).id)
    assert (job.state, job.error.message, job.error.reason) == ("FAILED", "no", "exception")
    assert len(client.attempts(job.id)) == 1


def test_a_wait_gives_up_when_its_time_is_over(client: Any) -> None:
    job = client.submit("demo.noop", delay=3600)
    began = time.monotonic()
    with pytest.raises(WaitTimeout) as caught:
        client.wait(job.id, timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 3
    assert caught.value.job.state == "PENDING"


def test_a_pending_job_is_changed_cancelled_and_run_again(client: Any) -> None:
    job = client.submit("demo.noop", delay=3600)
    assert client.update(job.id, priority="low").priority == "low"
    assert client.cancel(job.id).state == "CANCELLED"
    with pytest.raises(Conflict):
        client.cancel(job.id)
    assert client.retry(job.id).state == "PENDING"


def test_a_queue_is_paused_drained_set_and_emptied(client: Any) -> None:
    name = f"q-{uuid4()}"
    client.submit("demo.noop", queue=name, delay=3600)
    paused = client.pause_queue(name, "why")
    assert (paused.paused, paused.pause_note, paused.drained) == (True, "why", False)
    assert client.drain_queue(name).paused
    assert wait_until(lambda: client.queue(name).drained, 10)
    assert client.update_queue(name, default_priority="low", retention=60.0).retention == 60.0
    assert client.update_queue(name, retention=None).retention is None
    assert [client.purge_queue(name, dry_run=dry_run).count for dry_run in (True, False)] == [1, 1]
    assert client.queue(name).counts["PENDING"] == 0
    assert not client.resume_queue(name).paused


def test_a_submit_that_comes_to_another_job_says_so(client: Any) -> None:
    key = str(uuid4())
    first = client.submit("demo.noop", unique_key=key, delay=3600)
    again = client.submit("demo.noop", unique_key=key, on_conflict="existing")
    assert (first.conflict, again.conflict, again.id) == (None, "existing", first.id)


def test_the_list_is_walked_over_its_pages(client: Any) -> None:
    tag = str(uuid4())
    job = {"task": "demo.noop", "args": {}, "delay": 3600, "tags": [tag]}
    ids = [item.id for item in client.submit_batch([job] * 130)]
    assert [job.id for job in client.jobs(task="demo.noop", tag=tag)] == ids[::-1]
    assert [job.id for job in client.jobs(state=["PENDING"], tag=tag, limit=3)] == ids[:-4:-1]


def test_a_partial_batch_tells_what_became_of_each_job(client: Any) -> None:
    good, bad = client.submit_batch([{"task": "demo.noop", "args": {}}, {"task": "nope", "args": {}}], partial=True)
    assert good.id is not None
    assert good.error is None
    assert bad.id is None
    assert bad.error is not None


def test_the_other_listings_are_read(client: Any) -> None:
    assert "demo.add" in [task.name for task in client.tasks()]
    assert "default" in [queue.name for queue in client.queues()]
    assert all(worker.name for worker in client.workers())
    assert isinstance(client.logs(client.submit("demo.noop").id), list)


def test_refusals_are_errors_with_facts(client: Any) -> None:
    with pytest.raises(JobNotFound) as missing:
        client.get(UNKNOWN)
    assert missing.value.job_id == UNKNOWN
    with pytest.raises(InvalidRequest) as wrong:
        client.submit("nope")
    assert wrong.value.errors[0].pointer == "/task"


def test_the_same_idempotency_key_gives_the_same_job(client: Any) -> None:
    first, second = (client.submit("demo.noop", delay=3600, idempotency_key="k1") for _ in range(2))
    assert first.id == second.id


def test_the_key_is_sent(kind: Any, api_url: str, memory: Memory) -> None:
    memory.api_key = "stpl_right"
    with kind(api_url, "stpl_right") as client:
        client.tasks()
    with kind(api_url, "stpl_wrong") as client, pytest.raises(Unauthorized):
        client.tasks()


def test_a_submit_is_tried_again_with_the_same_key(client: Any, memory: Memory) -> None:
    memory.refusals = [Refusal(503, "Unavailable"), Refusal(503, "Unavailable")]
    client.submit("demo.noop")
    keys = {headers["idempotency-key"] for _, _, headers in memory.calls}
    assert (len(memory.calls), len(keys), len(memory.jobs)) == (3, 1, 1)


def test_three_tries_are_enough(client: Any, memory: Memory) -> None:
    memory.refusals = [Refusal(503, "Unavailable", headers={"Retry-After": "0.01"})] * 3
    with pytest.raises(Unavailable) as caught:
        client.tasks()
    assert (len(memory.calls), caught.value.retry_after) == (3, 0.01)


def test_a_cancel_is_not_tried_again(client: Any, memory: Memory) -> None:
    job = client.submit("demo.noop", delay=3600)
    memory.refusals = [Refusal(503, "Unavailable")]
    with pytest.raises(ApiError):
        client.cancel(job.id)
    assert len(memory.calls) == 2


def test_nobody_at_the_address_is_told_so(kind: Any) -> None:
    with kind("http://127.0.0.1:1") as client, pytest.raises(TransportError) as caught:
        client.cancel(UNKNOWN)
    assert (caught.value.url, caught.value.was_sent) == ("http://127.0.0.1:1", False)


def test_the_environments_proxy_is_not_asked_for_loopback(
    kind: Any, api_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with kind(api_url) as client:
        assert client.tasks()


def test_a_submit_whose_answer_is_lost_is_sent_again(kind: Any) -> None:
    with breaking_server(times=2) as (url, heads), kind(url) as client:
        assert client.submit("demo.add", {"a": 1}).id == JOB["id"]
    keys = {line for head in heads for line in head.lower().splitlines() if line.startswith("idempotency-key")}
    assert (len(heads), len(keys)) == (3, 1)


def test_a_cancel_whose_answer_is_lost_is_left_alone(kind: Any) -> None:
    with breaking_server(times=1) as (url, heads), kind(url) as client, pytest.raises(TransportError) as caught:
        client.cancel(UNKNOWN)
    assert (len(heads), caught.value.was_sent) == (1, True)


@contextmanager
def breaking_server(times: int) -> Iterator[tuple[str, list[str]]]:
    """Reads a request and hangs up, so many times; then answers with a job. Yields its URL and what it has read."""
    heads: list[str] = []
    document = json.dumps(JOB).encode()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heads.append(self.request.recv(65536).decode())
            if len(heads) > times:
                head = f"HTTP/1.1 202 Accepted\r\nContent-Length: {len(document)}\r\nConnection: close\r\n\r\n"
                self.request.sendall(head.encode() + document)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", heads
        finally:
            server.shutdown()
            thread.join()


def test_both_drivers_have_the_same_face() -> None:
    def face(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert face(Client) == face(AsyncClient)


def test_the_client_needs_only_the_light_install() -> None:
    code = (
        "import sys, steeple.client; "
        "print(*sorted({name.split('.')[0] for name in sys.modules} & "
        "{'typer', 'rich', 'sqlalchemy', 'celery', 'fastapi', 'pydantic_settings', 'psycopg'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"

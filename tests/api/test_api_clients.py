"""Steeple's own client and command line against the API: what the one sends, the other takes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from running_api import NOBODY, Api, running
from typer.testing import CliRunner

from playground import Playground
from steeple import Settings, Steeple
from steeple.cli.root import app
from steeple.client import Client, Conflict, InvalidRequest, JobNotFound, WaitTimeout
from steeple.domain.states import State
from steeple.store.reports import NewLine, store_lines


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url) as client:
        yield client


def test_a_job_goes_through_its_life(client: Client, playground: Playground) -> None:
    when = datetime.now(UTC) + timedelta(days=1)
    job = client.submit(
        "add",
        {"a": 1, "b": 2},
        queue="q",
        priority="high",
        run_at=when,
        timeout=timedelta(minutes=1),
        tags=["t"],
        unique_key="u",
        max_attempts=2,
        idempotency_key="k",
    )
    assert (job.state, job.run_at, job.timeout, job.tags) == ("PENDING", when, 60.0, ("t",))
    assert client.get(job.id) == job
    with pytest.raises(WaitTimeout):
        client.wait(job.id, timeout=0.1)
    assert client.update(job.id, priority="low", max_attempts=4).max_attempts == 4
    assert client.cancel(job.id).state == "CANCELLED"
    assert client.wait(job.id).is_finished
    with pytest.raises(Conflict):
        client.cancel(job.id)
    assert client.retry(job.id).state == "PENDING"
    assert client.submit("add", {"a": 1, "b": 2}, wait=0.05).state == "PENDING"


def test_refusals_arrive_as_what_they_are(client: Client) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client.submit("add", {"a": "x", "b": 2})
    assert [fault.pointer for fault in refused.value.errors] == ["/args/a"]
    with pytest.raises(JobNotFound):
        client.get(NOBODY)


def test_lists_are_read_page_by_page(client: Client, playground: Playground) -> None:
    items = client.submit_batch([{"task": "add", "args": {"a": number, "b": 0}} for number in range(250)])
    assert [job.id for job in client.jobs()] == [item.id for item in reversed(items)]
    after = datetime.now(UTC) - timedelta(minutes=5)
    found = client.jobs(limit=3, state=["PENDING", "FAILED"], task="add", created_after=after, q="add")
    assert len(list(found)) == 3


def test_the_past_of_a_job_is_read(client: Client, playground: Playground) -> None:
    job = playground.ended(State.FAILED, now=None)
    with playground.engine.begin() as connection:
        store_lines(connection, [NewLine(job.id, 1, 0.0, "half way", '{"rows": 7}')])
    (attempt,) = client.attempts(str(job.id))
    assert (attempt.state, attempt.worker) == ("FAILED", "w")
    assert attempt.error is not None
    assert attempt.error.reason == "exception"
    (line,) = client.logs(str(job.id))
    assert (line.message, line.fields) == ("half way", {"rows": 7})


def test_what_there_is_is_listed(client: Client, playground: Playground) -> None:
    playground.worker("w-1")
    playground.add(queue="q")
    assert {task.name for task in client.tasks()} >= {"add", "echo"}
    assert "q" in {queue.name for queue in client.queues()}
    assert [worker.name for worker in client.workers()] == ["w-1"]


def test_the_command_line_submits_lists_and_shows(
    api: Api, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEEPLE_URL", api.url)

    def steeple(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["jobs", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    job_id = steeple("submit", "add", "--arg", "a=1", "--arg", "b=2", "--delay", "60").split()[0]
    assert playground.read(UUID(job_id)).state is State.PENDING
    assert [job["id"] for job in json.loads(steeple("list", "--json", "--state", "PENDING"))] == [job_id]
    assert steeple("cancel", job_id).split() == [job_id, "CANCELLED"]
    assert json.loads(steeple("show", job_id, "--attempts", "--logs", "--json"))["state"] == "CANCELLED"


@pytest.mark.parametrize("knows_code", [True, False], ids=["with the tasks' code", "with their schemas only"])
def test_the_command_line_says_how_to_write_text_that_reads_as_json(
    shared_database_url: str, playground: Playground, monkeypatch: pytest.MonkeyPatch, knows_code: bool
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    tasks = Steeple(settings)

    @tasks.task("render")
    def render(month: str, copies: int = 1) -> str:
        return month * copies

    with running(settings, tasks):
        pass  # so that they are registered
    with running(settings, tasks if knows_code else None) as api:
        monkeypatch.setenv("STEEPLE_URL", api.url)

        def submit(*pairs: str) -> str:
            arguments = [word for pair in pairs for word in ("--arg", pair)]
            result = CliRunner().invoke(app, ["jobs", "submit", "render", *arguments])
            assert (result.exit_code == 0) == (not result.stderr)
            return result.stderr

        assert "as text it is --arg month='\"2026\"'" in submit("month=2026")
        assert "as text it is --arg month='\"true\"'" in submit("month=true", "copies=2")
        assert "as text" not in submit("month=text", "copies=x")
        assert submit('month="2026"') == ""

"""``steeple queues`` as scripts see it, and the options of a submit about unique keys."""

import json

import pytest
from contract_api import Memory
from typer.testing import CliRunner, Result

from steeple.cli import queues as module
from steeple.cli.exits import ExitCode
from steeple.cli.root import app


@pytest.fixture(autouse=True)
def use_the_api(api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEEPLE_URL", api_url)
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0.01)


def steeple(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def submit(*more: str) -> Result:
    return steeple("jobs", "submit", "demo.noop", "--delay", "1h", *more)


def test_a_pause_is_told_and_taken_back(memory: Memory) -> None:
    paused = steeple("queues", "pause", "q", "--note", "the archive moves", "--json")
    assert paused.exit_code == 0
    (queue,) = json.loads(paused.stdout)
    assert (queue["name"], queue["paused"], queue["pause_note"]) == ("q", True, "the archive moves")
    assert steeple("queues", "resume", "q").exit_code == 0
    assert not memory.queues["q"]["paused"]


def test_the_list_has_a_line_for_each_queue(memory: Memory) -> None:
    submit()
    listed = steeple("queues", "list")
    assert listed.stdout.split("\t")[:3] == ["default", str(len(memory.pending("default"))), "0"]


def test_a_drain_waits_until_nothing_runs() -> None:
    drained = steeple("queues", "drain", "q")
    assert (drained.exit_code, drained.stdout) == (0, "")
    assert "nothing of it runs" in drained.stderr


def test_a_drain_whose_time_is_up_says_so(memory: Memory) -> None:
    late = steeple("queues", "drain", "q", "--timeout", "0s")
    assert late.exit_code == ExitCode.WAIT_TIMEOUT
    assert memory.queues["q"]["paused"]


def test_a_purge_asks_first_and_prints_how_many(memory: Memory) -> None:
    for _ in range(3):
        submit("--queue", "q")
    assert steeple("queues", "purge", "q", "--dry-run").stdout == "3\n"
    refused = steeple("queues", "purge", "q", stdin="n\n")
    assert refused.exit_code == ExitCode.FAILED
    assert {job["state"] for job in memory.jobs.values()} == {"PENDING"}
    assert steeple("queues", "purge", "q", "--yes").stdout == "3\n"
    assert {job["state"] for job in memory.jobs.values()} == {"CANCELLED"}


def test_what_is_set_is_sent_and_taken_away(memory: Memory) -> None:
    assert steeple("queues", "set", "q", "--default-priority", "low", "--retention", "30d").exit_code == 0
    assert memory.queues["q"] == {"default_priority": "low", "retention": 30 * 86400.0}
    assert steeple("queues", "set", "q", "--unset", "retention").exit_code == 0
    assert memory.queues["q"] == {"default_priority": "low", "retention": None}


def test_a_limit_is_sent_and_taken_away(memory: Memory) -> None:
    assert steeple("queues", "set", "q", "--max-running", "3", "--rate", "100/1m", "--burst", "5").exit_code == 0
    assert memory.queues["q"] == {"max_running": 3, "rate": {"count": 100, "period": 60.0, "burst": 5}}
    assert steeple("queues", "set", "q", "--unset", "max-running", "--unset", "rate").exit_code == 0
    assert memory.queues["q"] == {"max_running": None, "rate": None}


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "q", "--burst", "5"),
        ("set", "q"),
        ("set", "q", "--unset", "colour"),
        ("pause", "no name"),
        ("purge", "-"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert steeple("queues", *arguments).exit_code == ExitCode.USAGE


def test_a_submit_sends_what_is_said_about_the_key(memory: Memory) -> None:
    flags = "--unique-key u --unique-state PENDING --unique-state RUNNING --unique-period 1h --on-conflict existing"
    job_id = submit(*flags.split()).stdout.strip()
    assert memory.jobs[job_id]["unique_states"] == ["PENDING", "RUNNING"]
    again = submit(*flags.split())
    assert again.stdout.strip() == job_id
    assert "held the unique key" in again.stderr

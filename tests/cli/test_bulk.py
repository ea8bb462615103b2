"""``steeple jobs cancel --task …`` and its like, and ``steeple operations``: asked first, watched, told."""

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from steeple.cli.exits import ExitCode
from steeple.cli.root import app
from steeple.client import Client, Operation, OperationPreview
from steeple.embedded.processes import wait_until

UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"
PATIENCE = 30.0

Steeple = Callable[..., Result]


@pytest.fixture
def run(api_url: str, monkeypatch: pytest.MonkeyPatch) -> Steeple:
    """``steeple`` in this process."""
    monkeypatch.setenv("STEEPLE_URL", api_url)
    return lambda *arguments, stdin="": CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture
def client(api_url: str) -> Iterator[Client]:
    with Client(api_url) as found:
        yield found


@pytest.fixture
def tag(client: Client) -> str:
    """That of three jobs which wait."""
    found = str(uuid4())
    client.submit_batch([{"task": "demo.noop", "args": {}, "delay": 3600, "tags": [found]}] * 3)
    return found


def states(client: Client, tag: str) -> set[str]:
    return {job.state for job in client.jobs(tag=tag)}


def test_cancel_prints_the_operation_and_what_came_of_it(run: Steeple, client: Client, tag: str) -> None:
    result = run("jobs", "cancel", "--tag", tag, "--yes")
    assert (result.exit_code, result.stderr) == (0, "3 cancelled, 0 skipped\n")
    assert client.operation(result.stdout.strip()).done == 3
    assert states(client, tag) == {"CANCELLED"}


def test_what_was_skipped_is_told_reason_by_reason(run: Steeple, tag: str) -> None:
    run("jobs", "cancel", "--tag", tag, "--yes")
    result = run("jobs", "cancel", "--tag", tag, "--yes")
    assert (result.exit_code, result.stderr) == (0, "0 cancelled, 3 skipped\n  3: has ended\n")


def test_the_other_actions_do_what_they_are_called(run: Steeple, client: Client, tag: str) -> None:
    assert run("jobs", "reprioritise", "--tag", tag, "--to", "low", "--yes").stderr == "3 reprioritised, 0 skipped\n"
    assert run("jobs", "move", "--tag", tag, "--to", "bulk", "--yes").stderr == "3 moved, 0 skipped\n"
    assert {(job.priority, job.queue) for job in client.jobs(tag=tag)} == {("low", "bulk")}
    run("jobs", "cancel", "--tag", tag, "--yes")
    assert run("jobs", "retry", "--tag", tag, "--state", "cancelled", "--yes").stderr.startswith("3 started again")
    run("jobs", "cancel", "--tag", tag, "--yes")
    assert run("jobs", "delete", "--tag", tag, "--yes").stderr.splitlines()[0].startswith("3 deleted")
    assert states(client, tag) == set()


def test_as_json_it_is_one_document(run: Steeple, tag: str) -> None:
    document = json.loads(run("jobs", "cancel", "--tag", tag, "--yes", "--json").stdout)
    assert (document["state"], document["done"], document["filter"]) == ("DONE", 3, {"tag": [tag]})


def test_a_dry_run_lists_some_and_does_nothing(run: Steeple, client: Client, tag: str) -> None:
    result = run("jobs", "delete", "--tag", tag, "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "3 jobs match; nothing was done\n")
    assert [line.split("\t")[1:3] for line in result.stdout.splitlines()] == [["PENDING", "demo.noop"]] * 3
    assert json.loads(run("jobs", "delete", "--tag", tag, "--dry-run", "--json").stdout)["count"] == 3
    assert states(client, tag) == {"PENDING"}


def test_without_a_yes_and_nobody_to_ask_nothing_is_done(run: Steeple, client: Client, tag: str) -> None:
    result = run("jobs", "cancel", "--tag", tag)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "--yes" in result.stderr
    assert states(client, tag) == {"PENDING"}


@pytest.mark.parametrize(("answer", "code", "state"), [("y\n", 0, "CANCELLED"), ("n\n", 1, "PENDING")])
def test_who_is_there_is_asked(
    run: Steeple, client: Client, tag: str, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, state: str
) -> None:
    monkeypatch.setattr("steeple.cli.bulk._can_ask", lambda: True)
    result = run("jobs", "cancel", "--tag", tag, stdin=answer)
    assert result.exit_code == code
    assert "cancel 3 jobs?" in result.stderr
    assert states(client, tag) == {state}


@pytest.mark.parametrize(
    ("count", "is_exact", "words"),
    [
        (1, True, "1 job"),
        (1200, True, "1,200 jobs"),
        (10_000, False, "at least 10,000 jobs"),
        (0, False, "at least 0 jobs"),
    ],
)
def test_a_count_that_is_not_exact_is_not_told_as_if_it_were(
    run: Steeple, monkeypatch: pytest.MonkeyPatch, count: int, words: str, *, is_exact: bool
) -> None:
    found = OperationPreview(count=count, is_exact=is_exact)
    monkeypatch.setattr("steeple.client.Client.preview", lambda *_, **__: found)
    result = run("jobs", "cancel", "--task", "t")
    assert result.exit_code == ExitCode.USAGE
    assert words in " ".join(result.stderr.split())


def test_where_nothing_matches_there_is_no_operation(run: Steeple) -> None:
    result = run("jobs", "cancel", "--tag", str(uuid4()), "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no job matches\n")


@pytest.mark.parametrize(
    "wrong",
    [
        ["cancel"],
        ["cancel", "--yes"],
        ["cancel", UNKNOWN, "--task", "t", "--yes"],
        ["retry", UNKNOWN, "--all", "--yes"],
        ["cancel", UNKNOWN, "--dry-run"],
        ["delete"],
        ["delete", UNKNOWN, "--yes"],
        ["move", "--task", "t", "--yes"],
        ["reprioritise", "--task", "t", "--to", "highest", "--yes"],
        ["cancel", "--task", "t", "--search", "", "--yes"],
        ["cancel", "--task", "t", "--all", "--yes"],
        ["move", "--task", "t", "--to", "no queue", "--yes"],
    ],
)
def test_what_is_not_clear_is_a_usage_error(run: Steeple, wrong: list[str]) -> None:
    assert run("jobs", *wrong).exit_code == ExitCode.USAGE


def test_ids_still_name_single_jobs(run: Steeple, client: Client, tag: str) -> None:
    first, *_ = [job.id for job in client.jobs(tag=tag)]
    assert run("jobs", "cancel", first).stdout == f"{first}\tCANCELLED\n"
    assert run("jobs", "retry", first).stdout == f"{first}\tPENDING\n"


def test_no_wait_leaves_at_once_and_operations_wait_goes_on(run: Steeple, tag: str) -> None:
    left = run("jobs", "cancel", "--tag", tag, "--yes", "--no-wait")
    assert (left.exit_code, left.stderr) == (0, "")
    operation_id = left.stdout.strip()
    waited = run("operations", "wait", operation_id, "--timeout", "30s", "--json")
    assert (waited.exit_code, waited.stderr) == (0, "3 cancelled, 0 skipped\n")
    assert json.loads(waited.stdout)["id"] == operation_id


def test_operations_are_listed_and_shown(run: Steeple, tag: str) -> None:
    operation_id = run("jobs", "move", "--tag", tag, "--to", "bulk", "--yes").stdout.strip()
    listed = run("operations", "list", "--limit", "1")
    cells = listed.stdout.strip().split("\t")
    assert cells[:6] == [operation_id, "DONE", "move", "3", "0", "3"]
    assert json.loads(cells[8]) == {"tag": [tag]}
    assert listed.stderr == "the newest 1; more with --limit\n"
    assert json.loads(run("operations", "list", "--json", "--limit", "1").stdout)[0]["id"] == operation_id
    assert 'set\t{"queue": "bulk"}\n' in run("operations", "show", operation_id).stdout
    assert json.loads(run("operations", "show", operation_id, "--json").stdout)["done"] == 3


def test_the_reasons_are_shown_with_examples(run: Steeple, tag: str) -> None:
    run("jobs", "cancel", "--tag", tag, "--yes")
    operation_id = run("jobs", "move", "--tag", tag, "--to", "bulk", "--yes").stdout.strip()
    (line,) = [each for each in run("operations", "show", operation_id).stdout.splitlines() if "has ended" in each]
    reason, jobs, examples = line.split("\t")
    assert (reason, jobs, len(examples.split(","))) == ("has ended", "3", 3)


def test_an_operation_that_is_done_cannot_be_aborted(run: Steeple, tag: str) -> None:
    operation_id = run("jobs", "cancel", "--tag", tag, "--yes").stdout.strip()
    result = run("operations", "abort", operation_id)
    assert result.exit_code == ExitCode.CONFLICT
    assert "DONE" in result.stderr


@pytest.mark.parametrize("command", ["show", "wait", "abort"])
def test_an_unknown_operation_is_not_found(run: Steeple, command: str) -> None:
    result = run("operations", command, UNKNOWN)
    assert (result.exit_code, result.stderr) == (ExitCode.NOT_FOUND, f"error: no operation {UNKNOWN}\n")


def going_on(**changes: object) -> Operation:
    known = {"id": UNKNOWN, "action": "cancel", "filter": {}, "state": "RUNNING", "done": 1, "skipped": 0, "total": 4}
    return Operation.model_validate(known | {"created_at": "2026-11-24T00:00:00Z"} | changes)


@pytest.mark.parametrize(
    ("ends", "code"),
    [(going_on(state="ABORTED"), ExitCode.JOB_CANCELLED), (going_on(), ExitCode.WAIT_TIMEOUT)],
    ids=["aborted", "not ended"],
)
def test_how_a_wait_ends_is_in_the_exit_code(
    run: Steeple, monkeypatch: pytest.MonkeyPatch, ends: Operation, code: ExitCode
) -> None:
    monkeypatch.setattr("steeple.client.Client.operation", lambda *_: ends)
    assert run("operations", "wait", UNKNOWN, "--timeout", "0").exit_code == code


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from steeple.cli import operation_progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(operation_progress, "_PAUSE_SECONDS", 0.15)
    monkeypatch.setenv("TERM", "xterm")
    seen = iter([going_on(done=2), going_on(done=4, state="DONE")])

    class Asked:
        def operation(self, _: str) -> Operation:
            return next(seen)

    ended = operation_progress.watch(Asked(), going_on())  # type: ignore[arg-type]
    assert ended.state == "DONE"
    assert "/4" in capsys.readouterr().err


def test_an_operation_can_be_aborted_while_it_goes_on(run: Steeple, client: Client, tag: str) -> None:
    """Whether it is caught in time depends on the scheduler: either way one of the two is told."""
    operation_id = run("jobs", "cancel", "--tag", tag, "--yes", "--no-wait").stdout.strip()
    result = run("operations", "abort", operation_id)
    assert wait_until(lambda: client.operation(operation_id).is_finished, PATIENCE)
    state = client.operation(operation_id).state
    assert (result.exit_code, state) in ((0, "ABORTED"), (ExitCode.CONFLICT, "DONE"))

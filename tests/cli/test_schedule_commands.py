"""``steeple schedules`` as scripts see it, against a running installation."""

import json
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from steeple.cli.exits import ExitCode
from steeple.cli.root import app

UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"


class Schedules:
    """``steeple schedules`` in this process."""

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["schedules", *arguments])

    def made(self, *arguments: str) -> str:
        """The name of a new one, at a time that is far off."""
        name = f"n {uuid4()}"
        rule = () if {"--cron", "--every", "--at"} & set(arguments) else ("--cron", "0 0 1 1 *")
        result = self("create", name, "demo.add", "--arg", "a=1", "--arg", "b=2", *rule, *arguments)
        assert result.exit_code == 0, result.stderr
        return name

    def shown(self, which: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("show", which, "--json", *options).stdout)
        return found


@pytest.fixture
def schedules(installation_url: str, monkeypatch: pytest.MonkeyPatch) -> Schedules:
    monkeypatch.setenv("STEEPLE_URL", installation_url)
    return Schedules()


def test_create_prints_the_id_and_says_what_it_means(schedules: Schedules) -> None:
    rule = ("--cron", "30 2 1 1 *", "--timezone", "Europe/Berlin")
    result = schedules("create", f"c {uuid4()}", "demo.noop", *rule)
    assert result.stderr.startswith("At 02:30 on January 1")
    assert ", Europe/Berlin time; next: " in result.stderr
    assert schedules.shown(result.stdout.strip())["timezone"] == "Europe/Berlin"


def test_create_sends_every_option(schedules: Schedules) -> None:
    flags = "--every 2h --starts-at 2030-01-01T00:00:00Z --ends-at 2031-01-01T00:00:00+01:00 --jitter 90"
    more = "--overlap queue --catch-up all --catch-up-window 2d --queue q --priority high --paused"
    found = schedules.shown(schedules.made(*flags.split(), *more.split()))
    assert (found["interval"], found["jitter"], found["overlap"]) == (7200.0, 90.0, "queue")
    assert (found["starts_at"], found["ends_at"]) == ("2030-01-01T00:00:00Z", "2030-12-31T23:00:00Z")
    assert (found["catch_up"], found["catch_up_window"]) == ("all", 172800.0)
    assert (found["queue"], found["priority"], found["paused"]) == ("q", "high", True)
    assert found["args"] == {"a": 1, "b": 2}


def test_times_may_be_repeated(schedules: Schedules) -> None:
    found = schedules.shown(schedules.made("--at", "2031-01-01T00:00:00Z", "--at", "2030-01-01T00:00:00Z"))
    assert found["next_fires"] == ["2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"]


def test_update_changes_what_is_given(schedules: Schedules) -> None:
    name = schedules.made("--overlap", "queue")
    done = schedules("update", name, "--every", "1d", "--arg", "a=5", "--arg", "b=6")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Every day; next: ")
    found = schedules.shown(name)
    assert (found["cron"], found["interval"], found["overlap"]) == (None, 86400.0, "queue")
    assert found["args"] == {"a": 5, "b": 6}


def test_it_can_be_named_by_its_id_too(schedules: Schedules) -> None:
    name = schedules.made()
    assert schedules.shown(schedules.shown(name)["id"])["name"] == name


def test_pause_list_and_resume(schedules: Schedules) -> None:
    name = schedules.made("--queue", "rest")
    assert schedules("pause", name, "--note", "for now").exit_code == 0
    assert schedules.shown(name)["pause_note"] == "for now"
    listed = json.loads(schedules("list", "--paused", "--task", "demo.add", "--json", "--limit", "500").stdout)
    assert name in [each["name"] for each in listed]
    assert {each["paused"] for each in listed} == {True}
    assert schedules("resume", name).exit_code == 0
    active = schedules("list", "--active", "--limit", "500").stdout
    (line,) = (line for line in active.splitlines() if name in line)
    task, reading, state = line.split("\t")[2:5]
    assert (task, reading[:20], reading[-10:], state) == ("demo.add", "At 00:00 on January ", ", UTC time", "active")


def test_run_prints_a_job_and_show_lists_its_fire(schedules: Schedules) -> None:
    name = schedules.made()
    job_id = schedules("run", name).stdout.strip()
    waited = CliRunner().invoke(app, ["jobs", "wait", job_id])
    assert (waited.exit_code, waited.stdout) == (0, "3\n")
    (fire,) = schedules.shown(name, "--fires")["fires"]
    assert (fire["outcome"], fire["job_id"]) == ("fired", job_id)
    assert job_id in schedules("show", name, "--fires").stdout


def test_preview_prints_both_clocks(schedules: Schedules) -> None:
    name = schedules.made("--cron", "0 12 1 1 *", "--timezone", "Asia/Tokyo")
    lines = schedules("preview", name, "--count", "3").stdout.splitlines()
    assert len(lines) == 3
    utc, local = lines[0].split("\t")
    assert (utc[4:], local[4:]) == ("-01-01T03:00:00Z", "-01-01T12:00:00+09:00")
    assert len(json.loads(schedules("preview", name, "--json").stdout)["fires"]) == 10


def test_backfill_tells_how_many(schedules: Schedules) -> None:
    name = schedules.made("--cron", "0 0 1 * *")
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-03-01T00:00:00Z")
    done = schedules("backfill", name, *span, "--max-running", "2")
    assert (done.exit_code, done.stderr) == (0, "3 fires, 2 at once\n")
    (found,) = schedules.shown(name, "--backfills")["backfills"]
    assert (found["id"], found["total"]) == (done.stdout.strip(), 3)


def test_delete(schedules: Schedules) -> None:
    name = schedules.made()
    assert schedules("delete", name).exit_code == 0
    assert schedules("show", name).exit_code == ExitCode.NOT_FOUND
    assert name in schedules("show", name).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", UNKNOWN), ExitCode.NOT_FOUND, f"no schedule {UNKNOWN}"),
        (("pause", "nobody has this name"), ExitCode.NOT_FOUND, "steeple schedules list"),
        (("create", "n", "demo.noop", "--cron", "0 25 * * *"), ExitCode.USAGE, "/cron: its hour field '25'"),
        (("create", "n", "demo.noop"), ExitCode.USAGE, "one of cron, interval and times"),
        (("create", "n", "demo.noop", "--every", "soon"), ExitCode.USAGE, "--every"),
        (("create", "n", "demo.noop", "--at", "2030-01-01"), ExitCode.USAGE, "--at"),
        (("create", "n", "nobody", "--cron", "@daily"), ExitCode.USAGE, "/task"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    schedules: Schedules, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    result = schedules(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_a_name_that_is_taken_is_a_conflict(schedules: Schedules) -> None:
    name = schedules.made()
    result = schedules("create", name, "demo.noop", "--cron", "@daily")
    assert result.exit_code == ExitCode.CONFLICT
    assert schedules.shown(name)["id"] in result.stderr

"""``steeple jobs`` as scripts see it: what is on stdout, what on stderr, and the exit code."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from contract_api import Memory, Refusal
from steeple_command import Steeple
from typer.testing import CliRunner, Result

from steeple.cli.exits import ExitCode
from steeple.cli.root import app

UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"


@pytest.fixture
def jobs(api_url: str, monkeypatch: pytest.MonkeyPatch) -> "Jobs":
    monkeypatch.setenv("STEEPLE_URL", api_url)
    return Jobs()


class Jobs:
    """``steeple jobs`` in this process."""

    def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, ["jobs", *arguments], input=stdin)

    def submitted(self, *arguments: str) -> str:
        result = self("submit", *arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout.strip()


def test_submit_prints_the_id_and_nothing_else(steeple: Steeple, api_url: str) -> None:
    done = steeple("jobs", "submit", "demo.add", "--arg", "a=1", "--arg", "b=2", STEEPLE_URL=api_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    shown = steeple("jobs", "show", done.stdout.strip(), "--json", STEEPLE_URL=api_url)
    assert json.loads(shown.stdout)["args"] == {"a": 1, "b": 2}


def test_submit_and_wait_prints_the_result_on_a_second_line(steeple: Steeple, api_url: str) -> None:
    done = steeple("jobs", "submit", "demo.add", "--args", '{"a": 1, "b": 2}', "--wait", STEEPLE_URL=api_url)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1] == "3"
    assert done.stderr.startswith("waiting for job")


def test_submit_sends_every_option(jobs: Jobs, memory: Memory) -> None:
    flags = "--queue q --priority high --delay 2h --expires-at 2030-01-01T00:00:00+01:00 --timeout 90 --max-attempts 7"
    job_id = jobs.submitted("demo.noop", *flags.split(), "--unique-key", "u", "--tag", "x", "--tag", "y")
    job = memory.jobs[job_id]
    assert (job["queue"], job["priority"], job["timeout"], job["max_attempts"]) == ("q", "high", 90.0, 7)
    assert (job["unique_key"], job["tags"], job["expires_at"]) == ("u", ["x", "y"], "2029-12-31T23:00:00Z")


def test_submit_names_the_jobs_that_must_end_before(jobs: Jobs, memory: Memory) -> None:
    job = memory.jobs[jobs.submitted("demo.noop", "--after", UNKNOWN, "--on-parent-failure", "run")]
    assert (job["after"], job["on_parent_failure"]) == ([UNKNOWN], "run")


def test_arguments_come_from_a_file_or_stdin(jobs: Jobs, memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "args.json"
    path.write_text('{"value": [1]}')
    from_file = jobs.submitted("demo.echo", "--args", f"@{path}")
    from_stdin = jobs("submit", "demo.echo", "--args", "-", "--arg", "value=2026-10", stdin='{"value": 1}')
    assert memory.jobs[from_file]["args"] == {"value": [1]}
    assert memory.jobs[from_stdin.stdout.strip()]["args"] == {"value": "2026-10"}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--args", "{"],
        ["--args", "[1]"],
        ["--args", '{"a": NaN}'],
        ["--args", "@/no/such/file"],
        ["--arg", "a"],
        ["--arg", "a=1", "--arg", "a=2"],
        ["--run-at", "2026-11-25T08:00:00"],
        ["--run-at", "tomorrow"],
        ["--delay", "-1"],
        ["--priority", "highest"],
    ],
)
def test_wrong_values_are_usage_errors(jobs: Jobs, wrong: list[str], memory: Memory) -> None:
    result = jobs("submit", "demo.echo", *wrong)
    assert (result.exit_code, result.stdout, memory.calls) == (ExitCode.USAGE, "", [])
    assert wrong[0] in result.stderr


def test_what_the_api_refuses_is_one_line_that_points_at_the_field(jobs: Jobs) -> None:
    result = jobs("submit", "nope")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert result.stderr == "error: /task: no task named 'nope' is registered\n"


def test_a_held_unique_key_is_a_conflict(jobs: Jobs) -> None:
    key = str(uuid4())
    job_id = jobs.submitted("demo.noop", "--unique-key", key, "--delay", "1h")
    result = jobs("submit", "demo.noop", "--unique-key", key)
    assert result.exit_code == ExitCode.CONFLICT
    assert job_id in result.stderr


def test_wait_tells_the_end_by_its_exit_code(jobs: Jobs) -> None:
    good = jobs("wait", jobs.submitted("demo.echo", "--arg", "value=hi"))
    bad = jobs("wait", jobs.submitted("demo.fail", "--arg", "message=no", "--max-attempts", "1"))
    late = jobs("wait", jobs.submitted("demo.noop", "--delay", "1h"), "--timeout", "0.1s")
    assert (good.exit_code, good.stdout) == (ExitCode.OK, '"hi"\n')
    assert (bad.exit_code, bad.stdout) == (ExitCode.JOB_FAILED, "")
    assert "RuntimeError: no" in bad.stderr
    assert (late.exit_code, late.stdout) == (ExitCode.WAIT_TIMEOUT, "")


def test_wait_for_a_cancelled_job(jobs: Jobs) -> None:
    job_id = jobs.submitted("demo.noop", "--delay", "1h")
    assert jobs("cancel", job_id).stdout == f"{job_id}\tCANCELLED\n"
    result = jobs("wait", job_id, "--json")
    assert result.exit_code == ExitCode.JOB_CANCELLED
    assert json.loads(result.stdout)["state"] == "CANCELLED"


def test_cancel_goes_on_after_a_job_that_it_cannot_cancel(jobs: Jobs) -> None:
    job_id = jobs.submitted("demo.noop", "--delay", "1h")
    result = jobs("cancel", UNKNOWN, job_id)
    assert (result.exit_code, result.stdout) == (ExitCode.NOT_FOUND, f"{job_id}\tCANCELLED\n")
    assert UNKNOWN in result.stderr
    assert jobs("retry", job_id).stdout == f"{job_id}\tPENDING\n"


def test_list_is_tab_separated_or_json(jobs: Jobs) -> None:
    tagged = ("--tag", str(uuid4()))
    ids = [jobs.submitted("demo.noop", "--delay", "1h", *tagged) for _ in range(2)]
    jobs.submitted("demo.echo", "--arg", "value=1", "--delay", "1h", *tagged)
    found = jobs("list", "--task", "demo.noop", "--state", "pending", *tagged).stdout
    lines = [line.split("\t") for line in found.splitlines()]
    assert [line[:3] for line in lines] == [[job_id, "PENDING", "demo.noop"] for job_id in ids[::-1]]
    assert len(json.loads(jobs("list", "--json", *tagged).stdout)) == 3
    short = jobs("list", "--limit", "1", *tagged)
    assert (len(short.stdout.splitlines()), short.stderr) == (1, "the newest 1; more with --limit\n")


def test_list_of_nothing_is_empty(jobs: Jobs) -> None:
    assert jobs("list", "--tag", "nobody-s").stdout == ""
    assert json.loads(jobs("list", "--json", "--tag", "nobody-s").stdout) == []


def test_show_gives_a_line_per_member_and_hides_control_characters(jobs: Jobs, memory: Memory) -> None:
    job_id = jobs.submitted("demo.noop")
    result = jobs("show", job_id, "--attempts", "--logs")
    assert f"id\t{job_id}\n" in result.stdout
    assert "half \\x1b[31mway" in result.stdout
    assert "\x1b" not in result.stdout


def test_show_as_json_has_attempts_and_logs(jobs: Jobs, memory: Memory) -> None:
    job_id = jobs.submitted("demo.fail", "--arg", "message=no")
    jobs("wait", job_id)
    document = json.loads(jobs("show", job_id, "--attempts", "--logs", "--json").stdout)
    assert document["attempts"][0]["error"]["message"] == "no"
    assert document["logs"][0]["fields"] == {"rows": 7}


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    result = jobs("show", UNKNOWN)
    assert (result.exit_code, result.stderr) == (ExitCode.NOT_FOUND, f"error: no job {UNKNOWN}\n")


def test_what_is_no_id_is_a_usage_error(jobs: Jobs, memory: Memory) -> None:
    assert jobs("show", "../tasks").exit_code == ExitCode.USAGE
    assert memory.calls == []


def test_no_api_is_one_line_that_says_what_to_do(steeple: Steeple) -> None:
    done = steeple("jobs", "list", STEEPLE_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (ExitCode.UNREACHABLE, "")
    assert done.stderr.startswith("error: no Steeple API answers at http://127.0.0.1:1 (")
    assert done.stderr.endswith("; start it with `steeple up` or set STEEPLE_URL\n")


def test_a_missing_key_is_told_with_what_to_do(jobs: Jobs, memory: Memory) -> None:
    memory.api_key = "stpl_right"
    result = jobs("list")
    assert result.exit_code == ExitCode.USAGE
    assert "STEEPLE_API_KEY" in result.stderr


def test_the_key_comes_from_the_environment(jobs: Jobs, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.api_key = "stpl_right"
    monkeypatch.setenv("STEEPLE_API_KEY", "stpl_right")
    assert jobs("list").exit_code == ExitCode.OK


@pytest.mark.parametrize(
    ("status", "code"), [(403, ExitCode.USAGE), (429, ExitCode.UNREACHABLE), (500, ExitCode.FAILED)]
)
def test_other_refusals_have_exit_codes_too(jobs: Jobs, memory: Memory, status: int, code: ExitCode) -> None:
    memory.refusals = [Refusal(status, "No", "why\n\x1b[2Jnot")]
    result = jobs("list")
    assert (result.exit_code, result.stdout) == (code, "")
    assert "\x1b" not in result.stderr


def test_a_url_with_a_password_is_refused_without_showing_it(steeple: Steeple) -> None:
    done = steeple("jobs", "list", STEEPLE_URL="http://me:hunter2@localhost")
    assert done.returncode == ExitCode.USAGE
    assert "STEEPLE_URL" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout

"""What a part writes to stderr, by a process of its own: logging is set up once for all of it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from steeple.embedded.processes import kill_group

_BEGIN = """
import logging, structlog, warnings
from steeple.settings import Settings
from steeple.telemetry import events, logs
logs.configure(Settings(log_format={format!r}, log_level={level!r}), "worker")
"""


def logged(code: str, *, format: str = "json", level: str = "INFO") -> str:  # noqa: A002 - as the setting
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN.format(format=format, level=level) + code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def lines(code: str, **settings: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged(code, **settings).splitlines()]


def test_an_event_is_one_json_line_with_its_fields_and_its_part() -> None:
    (line,) = lines("events.wake_failed(ValueError('no'))")
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "wake_failed", "error": "ValueError('no')", "level": "warning", "part": "worker"}


@pytest.mark.parametrize(
    "code",
    [
        "logging.getLogger('mine').info('said %s', 'so', extra={'amount': 3})",
        "structlog.get_logger().info('said so', amount=3)",
        "structlog.get_logger('mine').info('said so', amount=3)",
    ],
)
def test_a_task_s_own_logging_ends_up_in_the_same_form(code: str) -> None:
    (line,) = lines(code)
    assert (line["event"], line["level"], line["part"], line["amount"]) == ("said so", "info", "worker", 3)


def test_what_is_bound_to_the_context_is_on_every_line() -> None:
    found = lines(
        "structlog.contextvars.bind_contextvars(job_id='j', attempt=2)\n"
        "events.wake_failed(ValueError())\n"
        "logging.getLogger('mine').info('hello')\n"
        "structlog.get_logger().info('hello')\n"
    )
    assert [(line["job_id"], line["attempt"]) for line in found] == [("j", 2)] * 3


def test_the_level_is_the_setting_s() -> None:
    code = "logging.getLogger('mine').info('a'); structlog.get_logger().info('b'); events.wake_failed(ValueError())"
    assert [line["event"] for line in lines(code, level="WARNING")] == ["wake_failed"]


@pytest.mark.parametrize(("level", "expected"), [("DEBUG", ["warning", "error"]), ("ERROR", ["error"])])
def test_libraries_speak_of_what_they_warn_of_only(level: str, expected: list[str]) -> None:
    names = ["celery", "celery.worker", "kombu.transport", "uvicorn.error", "sqlalchemy.engine", "alembic"]
    code = (
        f"for name in {names}:\n"
        "    for each in ('info', 'warning', 'error'): getattr(logging.getLogger(name), each)(each)\n"
    )
    found = [(line["logger"], line["event"]) for line in lines(code, level=level)]
    assert found == [(name, each) for name in names for each in expected]


def test_an_exception_keeps_its_traceback_on_one_line() -> None:
    (line,) = lines("try: 1 / 0\nexcept ZeroDivisionError: logging.getLogger('mine').exception('failed')")
    assert "ZeroDivisionError: division by zero" in line["exception"]


def test_a_warning_is_a_line_like_others() -> None:
    (line,) = lines("warnings.warn('old', UserWarning)")
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


def test_configuring_again_does_not_say_everything_twice() -> None:
    code = "logs.configure(Settings(log_format='json'), 'api'); events.wake_failed(ValueError())"
    assert [line["part"] for line in lines(code)] == ["api"]


def test_what_json_has_not_is_shown_by_its_repr() -> None:
    (line,) = lines("structlog.get_logger().info('hi', what=object, when={1: {2}})")
    assert line["what"] == "<class 'object'>"


def test_on_a_pipe_there_are_no_colours() -> None:
    text = logged("events.wake_failed(ValueError('no'))", format="console")
    assert "wake_failed" in text
    assert "part=worker" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("format", ["console", "json"])
def test_secrets_are_not_logged(format: str) -> None:  # noqa: A002 - as the setting
    code = (
        "log = structlog.get_logger()\n"
        "log.info('connecting to postgresql://u:hunter2@h/d', headers={'Authorization': 'Bearer hunter2'})\n"
        "logging.getLogger('mine').warning('password=hunter2 %s', 'stpl_hunter2')\n"
        "try: raise ValueError('redis://:hunter2@h')\n"
        "except ValueError: log.exception('failed')\n"
    )
    text = logged(code, format=format)
    assert "hunter2" not in text
    assert text.count("***") >= 5


def test_a_fork_in_the_middle_of_logging_does_not_hang_the_child() -> None:
    """The other thread is in the middle for sure: the pipe is full, and nobody reads it yet."""
    code = _BEGIN.format(format="json", level="INFO") + (
        "import os, select, threading\n"
        "chatter = threading.Thread(target=lambda: logging.getLogger('mine').info('x' * 1_000_000))\n"
        "chatter.start()\n"
        "while select.select([], [2], [], 0)[1]: pass\n"
        "print('full', flush=True)\n"
        "child = os.fork()\n"
        "events.wake_failed(ValueError())\n"
        "if child: chatter.join(); os.waitpid(child, 0)\n"
        "os._exit(0)\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, env=buffered, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"full\n"
        try:
            _, said = process.communicate(timeout=30)
        finally:
            kill_group(process.pid)
    assert said.count(b"wake_failed") == 2


def test_in_a_program_that_configures_nothing_events_go_where_its_logging_goes() -> None:
    code = "from steeple.telemetry import events; events.wake_failed(ValueError('no'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "wake_failed" in done.stderr


def test_no_event_uses_a_name_that_logging_needs_for_itself() -> None:
    """Every function of ``events`` is called with something of about the right kind."""
    code = (
        "import inspect\n"
        "from unittest.mock import MagicMock\n"
        "def sample(kind):\n"
        "    if kind in (int, float, str): return kind(1)\n"
        "    return ValueError('no') if kind is BaseException else MagicMock()\n"
        "for name, function in inspect.getmembers(events, inspect.isfunction):\n"
        "    if function.__module__ == events.__name__ and not name.startswith('_'):\n"
        "        parameters = inspect.signature(function).parameters.values()\n"
        "        function(**{each.name: sample(each.annotation) for each in parameters})\n"
    )
    found = [line["event"] for line in lines(code, level="DEBUG")]
    assert {"wake_failed", "slot_died", "trouble_began"} <= set(found)
    assert len(found) == len(set(found))

"""Tables for people on a terminal, tab-separated lines for programs, and no control characters for either."""

import os
import pty
import subprocess
import sys

import pytest

from steeple.cli import output
from steeple.cli.faults import redacted

ROWS = '[("0199", "a\\x1b[2Jb", None, ["x", "y"], {"n": 1})]'
CODE = f"from steeple.cli.output import write_table; write_table(('id', 'name', 'none', 'tags', 'map'), {ROWS})"


def test_elsewhere_cells_stand_between_tabs_without_headings() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == '0199\ta\\x1b[2Jb\t\tx,y\t{"n": 1}\n'


def test_on_a_terminal_there_is_a_table_with_headings() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1"}
    subprocess.run([sys.executable, "-c", CODE], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "name" in shown
    assert "a\\x1b[2Jb" in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(("text", "shown"), [("a\tb\nc", "a\\tb\\nc"), ("é ✓", "é ✓"), ("\x9b1m", "\\x9b1m")])
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert output.visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:hunter2@host/db is down",
        "redis://:hunter2@host:6379/0",
        "redis://:hun/ter2@host:6379/0",
        "postgresql://u:hunter2@x@host/db",
        "connection to host=h password=hunter2 failed",
        "postgresql://host/db?user=u&password=hunter2&x=1",
        "host=h password='hunter2 x'",
    ],
)
def test_passwords_are_taken_out(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert "ter2" not in redacted(text)

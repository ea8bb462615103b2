"""What tasks write down of themselves."""

import threading
from pathlib import Path

import pytest
from bench.sheet import Sheet

from bench import bodies


def test_a_task_leaves_its_times_and_that_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = Sheet.create(tmp_path / "sheet", 3)
    monkeypatch.setenv("BENCH_SHEET", str(tmp_path / "sheet"))
    bodies.sheet.cache_clear()
    assert bodies.sleep(1, 0.01) == {"number": 1}
    assert sheet.ended[1] - sheet.began[1] >= 0.01
    assert list(sheet.runs) == [0, 1, 0]


def test_a_job_that_runs_twice_is_seen(tmp_path: Path) -> None:
    sheet = Sheet.create(tmp_path / "sheet", 2)
    sheet.end(0)
    sheet.end(0)
    assert (sheet.missing(1), sheet.missing(2)) == (0, 1)
    assert sheet.runs[0] == 2


def test_waiting_ends_with_the_last_job_or_with_patience(tmp_path: Path) -> None:
    sheet = Sheet.create(tmp_path / "sheet", 1)
    assert not sheet.wait(1, 0.02)
    threading.Timer(0.02, sheet.end, [0]).start()
    assert sheet.wait(1, 60.0)

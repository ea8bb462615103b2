"""Plots of figures that are nothing, or less."""

from xml.etree import ElementTree

import pytest
from bench.plots import Bar, bars


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("values", [[0.0], [-2.0, -1.0], [-1.0, 0.0, 3.0], [0.001, 1000.0], []])
def test_any_figures_make_a_plot(values: list[float], is_log: bool) -> None:
    found = [Bar(f"contestant {value}", value, value, value, str(value)) for value in values]
    drawn = ElementTree.fromstring(bars("Lateness", "ms", found, is_log=is_log, better="lower"))
    boxes = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 1 + len(values)
    assert all(float(box.get("width", "0")) > 0 for box in boxes)

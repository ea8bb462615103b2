"""Monthly figures of Seattle's weather, from a table in the package; its source and licence stand beside it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean
from typing import Any

SOURCE = "NOAA daily records, 2012 to 2015"
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
PAUSE_SECONDS = 0.12
"""After each month: the figures take milliseconds, and their progress is meant to be seen."""


@dataclass(frozen=True)
class Day:
    """``precipitation`` in millimetres, temperatures in degrees Celsius."""

    year: int
    month: int
    precipitation: float
    temp_max: float
    temp_min: float


def read_days() -> list[Day]:
    """Every day of the table."""
    table = files("steeple.demo").joinpath("data/seattle-weather.csv").read_text(encoding="utf-8")
    return [_day(row) for row in csv.DictReader(table.splitlines())]


def summarise(month: str, days: Sequence[Day]) -> dict[str, Any]:
    """One row: a usual month of that name, from all its days in all years."""
    years = len({day.year for day in days})
    return {
        "month": month,
        "high_c": round(fmean(day.temp_max for day in days), 1),
        "low_c": round(fmean(day.temp_min for day in days), 1),
        "hottest_c": max(day.temp_max for day in days),
        "coldest_c": min(day.temp_min for day in days),
        "rain_mm": round(sum(day.precipitation for day in days) / years),
        "rainy_days": round(sum(day.precipitation > 0 for day in days) / years),
    }


def _day(row: dict[str, str]) -> Day:
    year, month, _ = row["date"].split("/")
    return Day(
        year=int(year),
        month=int(month),
        precipitation=float(row["precipitation"]),
        temp_max=float(row["temp_max"]),
        temp_min=float(row["temp_min"]),
    )

"""Cron expressions in time zones: against a brute-force oracle over thirty years, and on the odd days of the tz
database, by hand."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cron_oracle import Expression, Field, fires, shifts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steeple.cron import Cron, CronError
from steeple.domain.schedule import InZone
from steeple.domain.wall_clock import _transitions

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Caracas",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
)
YEARS = range(1996, 2026)
QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=3000)


def field(first: int, last: int, *, sparse: bool = False) -> st.SearchStrategy[Field]:
    numbers = range(first, last + 1)
    every = st.just(Field("*", frozenset(numbers)))
    steps = st.integers(2, max(2, len(numbers) // 2)).map(
        lambda step: Field(f"*/{step}", frozenset(list(numbers)[::step]))
    )
    one = st.integers(first, last).map(lambda number: Field(str(number), frozenset({number})))
    some = st.sets(st.integers(first, last), min_size=2, max_size=4).map(
        lambda found: Field(",".join(map(str, sorted(found))), frozenset(found))
    )
    ranges = st.tuples(st.integers(first, last), st.integers(first, last)).map(
        lambda ends: Field(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)))
    )
    return st.one_of(every, every, one) if sparse else st.one_of(every, steps, one, some, ranges)


NIGHT = st.sets(st.integers(0, 4), min_size=1, max_size=3).map(
    lambda found: Field(",".join(map(str, sorted(found))), frozenset(found))
)
"""The hours in which clocks are put forward and back."""


EXPRESSIONS = st.builds(
    Expression,
    minute=field(0, 59),
    hour=st.one_of(field(0, 23), NIGHT),
    day=field(1, 31, sparse=True),
    month=field(1, 12, sparse=True),
    weekday=field(0, 6, sparse=True),
).filter(lambda expression: _can_be(expression.text))


def _can_be(text: str) -> bool:
    try:
        Cron(text)
    except CronError:
        return False
    return True


@cache
def known_shifts(zone: str, year: int) -> list[datetime]:
    return shifts(ZoneInfo(zone), year)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and an hour in UTC: more often than not one before clocks change."""
    zone, year = draw(st.sampled_from(ZONES)), draw(st.sampled_from(YEARS))
    changes = known_shifts(zone, year)
    is_near = draw(st.integers(0, 3)) > 0
    day = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=draw(st.integers(0, 364)))
    moment = draw(st.sampled_from(changes)) if changes and is_near else day
    return zone, moment - timedelta(hours=draw(st.integers(1, 24)))


def _agrees(expression: Expression, window: tuple[str, datetime]) -> None:
    zone, start = ZoneInfo(window[0]), window[1]
    end = start + timedelta(hours=36)
    rule = InZone(Cron(expression.text), zone)
    found: list[datetime] = []
    moment = rule.following(start - timedelta(seconds=1))
    while moment is not None and moment < end:
        found.append(moment)
        moment = rule.following(moment)
    assert found == fires(expression, zone, start, end)


@QUICK
@given(expression=EXPRESSIONS, window=windows())
def test_fires_are_those_of_a_clock_watched_minute_by_minute(
    expression: Expression, window: tuple[str, datetime]
) -> None:
    _agrees(expression, window)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@LONG
@given(expression=EXPRESSIONS, window=windows())
def test_they_are_over_many_more_windows(expression: Expression, window: tuple[str, datetime]) -> None:
    _agrees(expression, window)


@QUICK
@given(expression=EXPRESSIONS, window=windows(), seconds=st.integers(0, 3 * 86400), micros=st.integers(0, 999_999))
def test_from_any_moment_the_next_fire_is_the_same(
    expression: Expression, window: tuple[str, datetime], seconds: int, micros: int
) -> None:
    """Whoever asks, and however far before it."""
    rule = InZone(Cron(expression.text), ZoneInfo(window[0]))
    moment = window[1] + timedelta(seconds=seconds, microseconds=micros)
    following = rule.following(moment)
    if following is not None:
        assert following > moment
        assert rule.following(moment + (following - moment) / 2) == following
        assert rule.following(following - timedelta(microseconds=1)) == following


def local(expression: str, zone: str, start: str, end: str) -> list[str]:
    """The fires of a few days, as a clock there shows them, with its offset."""
    rule = InZone(Cron(expression), ZoneInfo(zone))
    first = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(seconds=1)
    until = datetime.fromisoformat(end).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    def walk() -> "list[datetime]":
        found, moment = [], rule.following(first)
        while moment is not None and moment < until:
            found.append(moment)
            moment = rule.following(moment)
        return found

    return [each.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M:%S%z").replace(":00+", "+") for each in walk()]


@pytest.mark.parametrize(
    ("expression", "zone", "start", "end", "expected"),
    [
        # In the gap: once, at its end.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        ("0,15,30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        # An hour that comes twice: once for a fixed time, the first; in both for an interval.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", "2026-10-26", ["10-25 02:30+0200"]),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25",
            "2026-10-26",
            ["10-25 02:00+0200", "10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100"],
        ),
        # Half an hour: 02:00 becomes 02:30, and in April 02:00 becomes 01:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-05", ["10-04 02:30+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-06", ["04-05 01:45+1100"]),
        ("59 1 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-06", ["04-05 01:59+1100"]),
        ("0 2 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-06", ["04-05 02:00+1030"]),
        # A day that never was: 30 December 2011.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29",
            "2012-01-01",
            ["12-29 12:00-1000", "12-31 00:00+1400", "12-31 12:00+1400"],
        ),
        ("0 0 30 12 *", "Pacific/Apia", "2011-12-29", "2012-01-02", ["12-31 00:00+1400"]),
        # Ramadan: clocks go back on 15 February 2026 and forward on 22 March.
        ("30 2 * * *", "Africa/Casablanca", "2026-02-15", "2026-02-16", ["02-15 02:30+0100"]),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-22", "2026-03-23", ["03-22 03:00+0100"]),
        # Midnights that do not come, and one that comes twice.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-04", "2018-11-05", ["11-04 01:00-0200"]),
        ("0 0 * * 0", "America/Sao_Paulo", "2018-11-03", "2018-11-10", ["11-04 01:00-0200"]),
        ("30 23 * * *", "America/Sao_Paulo", "2018-02-17", "2018-02-18", ["02-17 23:30-0200"]),
        # Two hours at once, and a change of the zone for good.
        ("0 2 * * *", "Antarctica/Troll", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        ("15 0 * * *", "Asia/Pyongyang", "2015-08-15", "2015-08-16", ["08-15 00:15+0830"]),
        # Seconds.
        ("10,40 30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-30", ["03-29 03:00+0200"]),
        ("10 30 2 * * *", "Europe/Berlin", "2026-10-25", "2026-10-26", ["10-25 02:30:10+0200"]),
    ],
)
def test_odd_days(expression: str, zone: str, start: str, end: str, expected: list[str]) -> None:
    assert [each.replace(":00-", "-") for each in local(expression, zone, start, end)] == expected


def test_who_asks_within_the_second_of_two_hours_hears_of_the_next_day() -> None:
    """For a fixed time; an interval is due again in it."""
    within = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, for the second time
    fixed = InZone(Cron("30 2 * * *"), ZoneInfo("Europe/Berlin")).following(within)
    interval = InZone(Cron("*/30 2 * * *"), ZoneInfo("Europe/Berlin")).following(within)
    assert fixed == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert interval == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "day", "fires"),
    [
        ("*/30 * * * *", "2026-03-29", 46),
        ("*/30 * * * *", "2026-10-25", 50),
        ("15 * * * *", "2026-03-29", 23),
        ("15 * * * *", "2026-10-25", 25),
        ("15 */2 * * *", "2026-03-29", 12),
        ("0 0 12 * * *", "2026-10-25", 1),
        ("*/20 * * * * *", "2026-10-25", 25 * 180),
    ],
)
def test_intervals_on_the_days_of_23_and_25_hours(expression: str, day: str, fires: int) -> None:
    following = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    assert len(local(expression, "Europe/Berlin", day, following)) == fires


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@yearly", ["01-01 00:00+0000"]),
        ("@Annually", ["01-01 00:00+0000"]),
        ("@monthly", ["01-01 00:00+0000", "02-01 00:00+0000"]),
        ("@weekly", [f"{day} 00:00+0000" for day in ("01-04", "01-11", "01-18", "01-25", "02-01", "02-08")]),
        ("0 0 L * *", ["01-31 00:00+0000"]),
        ("0 0 LW * *", ["01-30 00:00+0000"]),
        ("0 0 * * 5L", ["01-30 00:00+0000"]),
        ("0 9 * * MON#2", ["01-12 09:00+0000", "02-09 09:00+0000"]),
        ("0 0 29 FEB *", []),
    ],
)
def test_nicknames_and_last_days(expression: str, expected: list[str]) -> None:
    assert local(expression, "UTC", "2026-01-01", "2026-02-10") == expected


def test_a_day_that_is_years_away_is_found_and_one_that_never_comes_refused() -> None:
    rule = InZone(Cron("0 0 29 2 *"), ZoneInfo("Europe/Paris"))
    leap = rule.following(datetime(2026, 3, 1, tzinfo=UTC))
    assert leap is not None
    assert leap.year == 2028
    with pytest.raises(CronError):
        Cron("0 0 30 2 *")
    assert InZone(Cron("@daily"), ZoneInfo("UTC")).following(datetime(9999, 6, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 25 * * *", "hour field '25'"),
        ("61 * * * *", "minute field '61'"),
        ("99 0 0 * * *", "second field '99'"),
        ("0 0 0 * *", "day-of-month field '0'"),
        ("0 0 * 13 *", "month field '13'"),
        ("0 0 * * 8", "day-of-week field '8'"),
        ("* * *", "has 3 fields"),
        ("", "has 0 fields"),
        ("@reboot", "@daily"),
        ("0 " + "1," * 200 + "1 * * *", "longer than"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_field(expression: str, words: str) -> None:
    with pytest.raises(CronError, match=words):
        Cron(expression)


@QUICK
@given(text=st.text("0123456789*,-/#LW @aMONJ?²", max_size=20))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        expression = Cron(text)
    except CronError:
        return
    assert expression.explain()
    expression.following(datetime(2026, 1, 1))  # noqa: DTZ001 - a wall time


@pytest.mark.parametrize("year", [1971, 1999, 2011, 2026])
def test_every_transition_is_found(year: int) -> None:
    """Of some zones out of all, looked for hour by hour."""
    for name in sorted(available_timezones())[year % 40 :: 40]:
        found = [each.moment for each in _transitions(ZoneInfo(name), year)]
        hours = [hour for hour in shifts(ZoneInfo(name), year) if hour.year == year]
        assert [hour < each <= hour + timedelta(hours=1) for hour, each in zip(hours, found, strict=True)] == [
            True
        ] * len(found), name

"""Bounds, jitter and catching up, by hand and against what going through every time would give."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steeple.cron import reading, timetable
from steeple.domain.priority import Priority
from steeple.domain.schedule import (
    ON_TIME_SECONDS,
    AtTimes,
    CatchUp,
    Definition,
    Every,
    Missed,
    Policy,
    Round,
    Timetable,
    due_round,
)

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SEED = UUID(int=7)
DAY = 86400.0


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def every(seconds: float, **bounds: float | datetime) -> Timetable:
    return Timetable(Every(seconds, NOON), SEED, **bounds)  # type: ignore[arg-type]


def times(found: Iterable[datetime]) -> list[float]:
    return [(each - NOON).total_seconds() for each in found]


def definition(**fields: object) -> Definition:
    return Definition("n", "t", "{}", "default", Priority.DEFAULT, **fields)  # type: ignore[arg-type]


def test_an_interval_counts_from_its_anchor() -> None:
    assert times(every(60).upcoming(at(-90), 3)) == [-60, 0, 60]
    assert times(every(60, starts_at=NOON).upcoming(at(-90), 2)) == [0, 60]
    assert times(every(60).upcoming(at(60), 2)) == [120, 180]
    assert times(every(0.1 * 3).upcoming(at(1e6), 1)) == [pytest.approx(1000000.2)]


def test_both_bounds_are_within() -> None:
    assert times(every(60, starts_at=at(120), ends_at=at(240)).upcoming(at(-90), 9)) == [120, 180, 240]
    assert every(60, ends_at=at(-1)).following(at(-30)) is None


def test_given_times_come_in_their_order_and_end() -> None:
    table = Timetable(AtTimes((at(50), at(10))), SEED)
    assert times(table.upcoming(NOON, 9)) == [10, 50]
    assert table.following(at(50)) is None


def test_jitter_is_the_same_for_all_and_another_for_each() -> None:
    table = every(60, jitter=30.0)
    minutes = [at(60 * number) for number in range(50)]
    found = times(map(table.due, minutes))
    assert found == times(map(every(60, jitter=30.0).due, minutes))
    late = [moment - 60 * number for number, moment in enumerate(found)]
    assert all(0 <= each < 30 for each in late)
    assert max(late) - min(late) > 20
    other = Timetable(Every(60, NOON), UUID(int=8), jitter=30.0)
    assert table.due(at(60)) != other.due(at(60))


def test_on_time_one_fires_and_the_next_is_known() -> None:
    for catch_up in CatchUp:
        assert due_round(every(60), at(60), at(60.2), Policy(catch_up)) == Round((at(60),), at(120))


def test_before_its_time_nothing_fires() -> None:
    assert due_round(every(60), at(60), at(59), Policy()) == Round((), at(60))


def test_after_an_hour_s_pause() -> None:
    """From 60 s on nobody looked, until 3601 s: what fires, and what is told as missed."""
    now = at(3601)
    assert due_round(every(60), at(60), now, Policy(CatchUp.LAST)) == Round(
        (at(3600),), at(3660), Missed(at(60), at(3600))
    )
    found = due_round(every(60), at(60), now, Policy(CatchUp.ALL))
    assert (times(found.fires), found.following, found.missed) == ([*range(60, 3601, 60)], at(3660), None)
    now = at(3659)
    assert due_round(every(60), at(60), now, Policy(CatchUp.NONE)) == Round((), at(3660), Missed(at(60), at(3660)))


def test_what_is_hardly_late_was_not_missed_even_where_nothing_is_made_up() -> None:
    now = at(60 + ON_TIME_SECONDS - 1)
    assert due_round(every(60), at(60), now, Policy(CatchUp.NONE)).fires == (at(60),)


def test_beyond_the_window_nothing_is_made_up() -> None:
    found = due_round(every(60), at(60), at(3601), Policy(CatchUp.ALL, window=300.0))
    assert (times(found.fires), found.missed) == ([3360, 3420, 3480, 3540, 3600][-5:], Missed(at(60), at(3360)))
    late = due_round(every(DAY), at(0), at(7200), Policy(CatchUp.LAST, window=3600.0))
    assert late == Round((), at(DAY), Missed(at(0), at(DAY)))


def test_many_are_made_up_round_by_round() -> None:
    found = due_round(every(1), at(1), at(1000), Policy(CatchUp.ALL, window=DAY, most=100))
    assert (times(found.fires), found.following) == ([*range(1, 101)], at(101))


def test_years_of_pause_take_no_longer_than_days() -> None:
    now = at(10 * 365 * DAY + 0.5)
    found = due_round(every(1), at(1), now, Policy(CatchUp.LAST))
    assert (found.fires, found.following) == ((at(10 * 365 * DAY),), at(10 * 365 * DAY + 1))


def test_the_last_of_given_times_is_made_up_and_then_there_is_none() -> None:
    table = Timetable(AtTimes((at(10), at(20))), SEED)
    assert due_round(table, at(10), at(100), Policy(CatchUp.LAST)) == Round((at(20),), None, Missed(at(10), at(20)))


def _by_hand(table: Timetable, start: datetime, now: datetime, policy: Policy) -> tuple[list[datetime], datetime]:
    time, due = start, []
    while table.due(time) <= now:
        due.append(time)
        found = table.following(time)
        assert found is not None
        time = found
    wanted = due if policy.catch_up is CatchUp.ALL else due[-1:]
    return [each for each in wanted if now - table.due(each) <= policy.patience], time


@settings(max_examples=300, deadline=None, database=None)
@given(
    step=st.floats(0.5, 500),
    jitter=st.sampled_from([0.0, 0.0, 3.0, 200.0]),
    first=st.integers(1, 50),
    gone=st.floats(0, 4000),
    catch_up=st.sampled_from(CatchUp),
    window=st.floats(0, 5000),
)
def test_a_round_is_what_going_through_every_time_gives(
    step: float, jitter: float, first: int, gone: float, catch_up: CatchUp, window: float
) -> None:
    table = every(step, jitter=jitter)
    start, now = at(step * first), at(step * first + gone)
    policy = Policy(catch_up, window, most=100_000)
    start = table.following(start - timedelta(seconds=step / 2)) or start
    found = due_round(table, start, now, policy)
    assert (list(found.fires), found.following) == _by_hand(table, start, now, policy)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cron": "0 9 * * 1", "timezone": "Europe/Berlin"}, "At 09:00 on Monday, Europe/Berlin time"),
        ({"cron": "@daily"}, "At 00:00 every day, UTC time"),
        ({"interval": 1.0}, "Every second"),
        ({"interval": 90.0}, "Every 90 seconds"),
        ({"interval": 7200.0}, "Every 2 hours"),
        ({"interval": 1.5}, "Every 1.5 seconds"),
        ({"times": (NOON,), "timezone": "Europe/Berlin"}, "Once, at 2026-11-24 13:00:00+01:00"),
        ({"times": (NOON, at(60))}, "At 2 given times, the first at 2026-11-24 12:00:00+00:00"),
    ],
)  # fmt: skip
def test_the_reading(fields: dict[str, object], expected: str) -> None:
    assert reading(definition(**fields)) == expected


def test_the_timetable_of_a_definition() -> None:
    assert times(timetable(definition(interval=60.0), SEED, at(5)).upcoming(at(5), 2)) == [65, 125]
    assert times(timetable(definition(interval=60.0, starts_at=at(90)), SEED, at(5)).upcoming(at(5), 2)) == [90, 150]
    assert times(timetable(definition(times=(at(9),)), SEED, at(5)).upcoming(at(5), 2)) == [9]
    assert times(timetable(definition(cron="@hourly"), SEED, at(5)).upcoming(at(5), 2)) == [3600, 7200]

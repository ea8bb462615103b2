"""Schedules in the database: kept as they are, whatever the zone of its clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from playground import NOW, Playground, at
from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Definition, Outcome, Overlap, Source
from steeple.errors import ScheduleNameTaken, ScheduleNotFound
from steeple.store import fires, schedules
from steeple.store.fires import Fire, FireKey
from steeple.store.schedules import ScheduleFilter, ScheduleView

FULL = Definition(
    name="full",
    task="t",
    args='{"n": 1.50}',
    queue="q",
    priority=Priority.LOW,
    times=(at(1), at(2)),
    timezone="Europe/Berlin",
    starts_at=at(-5),
    ends_at=at(500),
    jitter=2.5,
    overlap=Overlap.CANCEL,
    catch_up=CatchUp.ALL,
    catch_up_window=60.0,
)
DOUBLED = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
"""In Berlin 02:30, for the first time of two."""


def view(definition: Definition = FULL, **fields: object) -> ScheduleView:
    made = ScheduleView(uuid7(), definition, Source.API, 1, NOW, False, None, at(1), at(1), NOW, NOW)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_a_schedule_comes_back_as_it_was_kept(playground: Playground) -> None:
    made = view(paused=True, pause_note="why")
    with playground.engine.begin() as connection:
        assert schedules.insert(connection, made)
        found = schedules.read(connection, made.id)
        assert found == replace(made, created_at=found.created_at, updated_at=found.updated_at)
        assert schedules.lock(connection, made.id) == found
        assert schedules.read_named(connection, ["full", "other"]) == {"full": found}


def test_a_name_is_one_schedule_s(playground: Playground) -> None:
    first, second = view(), view(replace(FULL, name="second"))
    with playground.engine.begin() as connection:
        assert schedules.insert(connection, first)
        assert not schedules.insert(connection, view())
        assert schedules.insert(connection, second)
        with pytest.raises(ScheduleNameTaken) as taken:
            schedules.update(connection, replace(second, definition=FULL))
        assert taken.value.schedule_id == str(first.id)
        schedules.update(connection, replace(second, definition=replace(FULL, name="third")))
        assert schedules.read(connection, second.id).version == 2


def test_what_is_not_there_is_not_found(playground: Playground) -> None:
    with playground.engine.begin() as connection:
        for act in (schedules.read, schedules.lock, schedules.delete):
            with pytest.raises(ScheduleNotFound):
                act(connection, uuid7())


def test_pages_of_what_matches(playground: Playground) -> None:
    made = [view(replace(FULL, name=f"s{number}"), paused=number % 2 == 0) for number in range(5)]
    with playground.engine.begin() as connection:
        for each in made:
            schedules.insert(connection, each)
        first, before = schedules.read_page(connection, ScheduleFilter(), limit=3)
        rest, end = schedules.read_page(connection, ScheduleFilter(), limit=3, before=before)
        paused, _ = schedules.read_page(connection, ScheduleFilter(paused=True), limit=9)
    assert [each.id for each in first + rest] == [each.id for each in reversed(made)]
    assert end is None
    assert [each.definition.name for each in paused] == ["s4", "s2", "s0"]


def test_a_clock_in_another_zone_is_no_matter(playground: Playground) -> None:
    """As behind a pooler, which nobody has told ours; there is an hour that comes twice."""
    anchor = DOUBLED - timedelta(hours=3)
    made = view(replace(FULL, times=(DOUBLED,)), next_time=DOUBLED, next_due=DOUBLED, anchor=anchor)
    with playground.engine.begin() as connection:
        connection.execute(text("SET LOCAL timezone = 'Europe/Berlin'"))
        schedules.insert(connection, made)
        (taken,) = fires.take_due(connection, limit=5, now=DOUBLED + timedelta(hours=1))
        assert (taken.time, taken.anchor, taken.definition.times) == (DOUBLED, anchor, (DOUBLED,))
        assert taken.now - taken.time == timedelta(hours=1)
        assert taken.now - taken.anchor == timedelta(hours=4)
        key = FireKey(made.id, DOUBLED)
        assert fires.record(connection, [Fire(key, Outcome.SKIPPED)]) == {key}
        assert fires.record(connection, [Fire(key, Outcome.SKIPPED)]) == set()


@pytest.mark.parametrize(
    ("args", "is_same"), [('{"n":1.50}', True), ('{ "n": 1.5 }', True), ('{"n": 2}', False), ("{}", False)]
)
def test_definitions_are_the_same_whose_arguments_are(args: str, is_same: bool) -> None:
    assert schedules.is_same(FULL, replace(FULL, args=args)) is is_same
    assert not schedules.is_same(FULL, replace(FULL, jitter=3.0, args=args))

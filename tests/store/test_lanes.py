"""Which lanes have due jobs, and when the next job falls due."""

from sqlalchemy import Connection

from playground import Playground, at
from steeple.domain.priority import Lane, Priority
from steeple.store import lanes
from steeple.store.lanes import Work, find_work


def find(playground: Playground, seconds: float = 0.0) -> Work:
    with playground.engine.begin() as connection:
        return _find(connection, seconds)


def _find(connection: Connection, seconds: float) -> Work:
    return find_work(connection, now=at(seconds))


def test_an_empty_database_has_no_work(playground: Playground) -> None:
    assert find(playground) == Work({}, None)


def test_due_jobs_are_counted_per_lane(playground: Playground) -> None:
    playground.add_many(3, queue="a", priority=Priority.HIGH)
    playground.add_many(2, queue="a", priority=Priority.LOW)
    playground.add(queue="b")
    playground.running(playground.worker(), priority=Priority.HIGH, run_at=at(-1))
    assert find(playground).due == {
        Lane("a", Priority.HIGH): 3,
        Lane("a", Priority.LOW): 2,
        Lane("b", Priority.DEFAULT): 1,
    }


def test_the_next_job_to_fall_due_is_told_whatever_its_lane(playground: Playground) -> None:
    playground.add(queue="a", run_at=at(30))
    playground.add(queue="b", run_at=at(20), priority=Priority.LOW)
    playground.add(queue="b", run_at=at(-5), priority=Priority.LOW)
    assert find(playground) == Work({Lane("b", Priority.LOW): 1}, 20.0)
    assert find(playground, 25) == Work({Lane("b", Priority.LOW): 2}, 5.0)
    assert find(playground, 30).next_in is None


def test_no_lane_is_counted_to_the_end(playground: Playground) -> None:
    playground.add_many(lanes._ENOUGH + 10)
    assert find(playground).due == {Lane("default", Priority.DEFAULT): lanes._ENOUGH}


def test_only_pending_jobs_are_work(playground: Playground) -> None:
    playground.running()
    assert find(playground) == Work({}, None)

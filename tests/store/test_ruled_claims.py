"""Claims in lanes with limits and fair keys."""

from collections import Counter
from typing import Any
from uuid import UUID

from playground import NOW, Playground, at, end
from steeple.domain.job import ClaimedJob
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.store.exchange import Claimant
from steeple.store.ruled_claims import claim_by_rules

_LANE = Lane("default", Priority.DEFAULT)


def _claim(
    playground: Playground, claimant: Claimant, limit: int = 1, lane: Lane = _LANE, seconds: float = 0.0
) -> tuple[ClaimedJob, ...]:
    with playground.engine.begin() as connection:
        return claim_by_rules(connection, claimant, lane, limit, now=at(seconds)).jobs


def _limit(playground: Playground, key: str, **values: object) -> None:
    columns = {"max_running": None, "rate_count": None, "rate_period": None, "rate_burst": None} | values
    playground.sql(
        "INSERT INTO limits (key, max_running, rate_count, rate_period, rate_burst)"
        " VALUES (:key, :max_running, :rate_count, :rate_period, :rate_burst)",
        key=key,
        **columns,
    )


def _held_by(playground: Playground, job_id: UUID) -> str | None:
    found: str | None = playground.value("SELECT held_by FROM jobs WHERE id = :id", id=job_id)
    return found


def _of(playground: Playground, job: ClaimedJob, column: str) -> Any:
    return playground.value(f"SELECT {column} FROM jobs WHERE id = :id", id=job.id)


def test_the_exchange_leaves_jobs_with_rules_alone_and_names_their_lane(playground: Playground) -> None:
    plain = playground.add(queue="a", run_at=at(-3))
    playground.add(queue="b", run_at=at(-2), limits=("k",))
    behind = playground.add(queue="c", run_at=at(-1))
    claimant = playground.worker()
    first = playground.exchange(claimant, limit=5)
    assert [job.id for job in first.jobs] == [plain]
    assert first.ruled == Lane("b", Priority.DEFAULT)
    _claim(playground, claimant, lane=Lane("b", Priority.DEFAULT))
    assert [job.id for job in playground.claim(claimant, 5)] == [behind]


def test_no_more_run_than_a_limit_allows_and_the_next_one_starts_when_one_ends(playground: Playground) -> None:
    _limit(playground, "k", max_running=2)
    ids = [playground.add(limits=("k",), run_at=at(number - 10)) for number in range(4)]
    claimant = playground.worker()
    running = _claim(playground, claimant, 5)
    assert [job.id for job in running] == ids[:2]
    assert [_held_by(playground, job_id) for job_id in ids[2:]] == ["limit:k", "limit:k"]
    assert playground.exchange(claimant, limit=5).ruled is None
    playground.finish(claimant, end(running[0], State.SUCCESS))
    assert [_held_by(playground, job_id) for job_id in ids[2:]] == [None, "limit:k"]
    assert [job.id for job in _claim(playground, claimant, 5)] == [ids[2]]


def test_what_a_limit_holds_back_holds_up_no_other(playground: Playground) -> None:
    _limit(playground, "full", max_running=1)
    playground.add(limits=("full",), run_at=at(-3000))
    claimant = playground.worker()
    assert len(_claim(playground, claimant)) == 1
    playground.add_many(1500, limits=("full",), run_at=at(-2000))
    free = playground.add(limits=("free",), run_at=at(-1))
    assert [job.id for job in _claim(playground, claimant)] == [free]


def test_a_pattern_limits_each_key_by_itself(playground: Playground) -> None:
    _limit(playground, "customer:*", max_running=1)
    _limit(playground, "customer:big", max_running=3)
    for key in ("customer:a", "customer:b", "customer:big"):
        playground.add_many(5, limits=(key,))
    running = Counter(_of(playground, job, "limits")[0] for job in _claim(playground, playground.worker(), 20))
    assert running == {"customer:a": 1, "customer:b": 1, "customer:big": 3}


def test_a_rate_lets_jobs_start_as_tokens_come(playground: Playground) -> None:
    _limit(playground, "api", rate_count=2, rate_period=10.0, rate_burst=3)
    playground.add_many(10, limits=("api",), run_at=at(-1))
    claimant = playground.worker()
    counts = []
    for seconds in (0, 1, 5, 10, 100):
        playground.sql("UPDATE jobs SET held_by = NULL")
        counts.append(len(_claim(playground, claimant, 20, seconds=seconds)))
    assert counts == [3, 0, 1, 1, 3]


def test_a_single_job_waits_for_one_of_each_other_key(playground: Playground) -> None:
    for key in ("a", "b"):
        playground.add_many(50, fair_key=key, run_at=at(-100))
    claimant = playground.worker()
    assert len(_claim(playground, claimant, 10)) == 10
    single = playground.add(fair_key="new", run_at=at(-1))
    order = [job.id for job in _claim(playground, claimant, 3)]
    assert single in order


def test_keys_share_by_weight(playground: Playground) -> None:
    playground.sql("INSERT INTO weights (fair_key, weight) VALUES ('big', 3)")
    for key in ("big", "small"):
        playground.add_many(100, fair_key=key)
    playground.add_many(100)
    taken = Counter[str | None]()
    claimant = playground.worker()
    for _ in range(10):
        taken += Counter(_of(playground, job, "fair_key") for job in _claim(playground, claimant, 5))
    assert taken == {"big": 30, "small": 10, None: 10}


def test_an_ended_worker_claims_nothing(playground: Playground) -> None:
    playground.add(limits=("k",))
    claimant = playground.worker()
    playground.sql("UPDATE workers SET ended_at = :now", now=NOW)
    assert _claim(playground, claimant) == ()

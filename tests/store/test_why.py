"""Why a job does not run: what is said, and what claims do, must agree."""

import random
from uuid import UUID

import pytest

from playground import Playground, at
from steeple.domain.limits import Limit, Rate
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.why import Reason, reasons
from steeple.errors import JobNotFound
from steeple.store import limits
from steeple.store.ruled_claims import claim_by_rules
from steeple.store.why import read_facts

_ALIVE = 1e9
_MAY_START = {"next", "behind", "fair_share"}


def _why(playground: Playground, job_id: UUID, seconds: float = 0.0) -> list[Reason]:
    with playground.engine.begin() as connection:
        return reasons(read_facts(connection, job_id, _ALIVE, now=at(seconds)))


def _codes(playground: Playground, job_id: UUID, seconds: float = 0.0) -> list[str]:
    return [reason.code for reason in _why(playground, job_id, seconds)]


def _set(playground: Playground, limit: Limit) -> None:
    with playground.engine.begin() as connection:
        limits.set_limit(connection, limit)


def test_a_job_that_is_not_there_has_no_reasons(playground: Playground) -> None:
    with pytest.raises(JobNotFound):
        _why(playground, UUID(int=1))


def test_without_workers_that_is_why(playground: Playground) -> None:
    job_id = playground.add()
    assert _codes(playground, job_id) == ["no_worker"]
    playground.worker(binding=Binding(queues=("other",)), knows=("t",))
    assert _codes(playground, job_id) == ["no_worker_for_lane"]
    playground.worker()
    assert _codes(playground, job_id) == ["no_worker_for_task"]


def test_a_job_of_the_future_says_so_before_all_else(playground: Playground) -> None:
    assert _codes(playground, playground.add(run_at=at(60))) == ["not_due", "no_worker"]


def test_a_full_limit_is_named_with_those_that_hold_it(playground: Playground) -> None:
    _set(playground, Limit("k", max_running=1))
    first, second = (playground.add(limits=("k",), run_at=at(seconds)) for seconds in (-2, -1))
    claimant = playground.worker(knows=("t",))
    with playground.engine.begin() as connection:
        claim_by_rules(connection, claimant, Lane("default", Priority.DEFAULT), 5, now=at(0))
    (reason,) = _why(playground, second)
    assert (reason.code, reason.facts["key"], reason.facts["job_ids"]) == ("limit_full", "k", [str(first)])
    assert _codes(playground, first) == ["running"]


def test_a_rate_that_is_used_up_tells_when_the_next_token_comes(playground: Playground) -> None:
    _set(playground, Limit("k", rate=Rate(1, 10.0)))
    playground.add(limits=("k",), run_at=at(-2))
    second = playground.add(limits=("k",), run_at=at(-1))
    claimant = playground.worker(knows=("t",))
    with playground.engine.begin() as connection:
        claim_by_rules(connection, claimant, Lane("default", Priority.DEFAULT), 5, now=at(0))
    (reason,) = _why(playground, second, 4)
    assert (reason.code, reason.facts["seconds"]) == ("rate_limited", pytest.approx(6.0))


def test_who_is_in_line_is_told_how_far_behind(playground: Playground) -> None:
    playground.worker(knows=("t",))
    playground.add_many(3, run_at=at(-2))
    playground.add_many(2, priority=Priority.HIGH)
    job_id = playground.add(run_at=at(-1))
    (reason,) = _why(playground, job_id)
    assert (reason.code, reason.facts["jobs"]) == ("behind", 5)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_agrees_with_what_is_claimed(playground: Playground, seed: int) -> None:
    chosen = random.Random(seed)
    for key in ("a", "b"):
        rate = Rate(chosen.randint(1, 3), 100.0) if chosen.random() < 0.5 else None
        _set(playground, Limit(key, chosen.choice([None, 0, 1, 3]) if rate else chosen.randint(0, 3), rate))
    claimant = playground.worker(knows=("t",), binding=Binding(queues=("q",)))
    ids = [
        playground.add(
            queue=chosen.choice(["q", "q", "q", "nobody's"]),
            run_at=at(chosen.choice([-2, -1, 5])),
            limits=tuple(sorted(chosen.sample("abc", chosen.randint(0, 2)))),
            fair_key=chosen.choice([None, None, "x", "y"]),
        )
        for _ in range(30)
    ]
    claimed: set[UUID] = set()
    while True:
        said = {job_id: _codes(playground, job_id) for job_id in ids if job_id not in claimed}
        exchanged = playground.exchange(claimant, limit=1)
        jobs = exchanged.jobs
        if exchanged.ruled is not None and not jobs:
            with playground.engine.begin() as connection:
                jobs = claim_by_rules(connection, claimant, exchanged.ruled, 1, now=at(0)).jobs
        if not jobs:
            break
        (job,) = jobs
        assert set(said[job.id]) <= _MAY_START
        claimed.add(job.id)
    for codes in said.values():
        assert not set(codes) <= _MAY_START

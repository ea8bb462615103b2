"""The checker's rules about what is between jobs, runs, workers and clients."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from history import Answer, Call, Limit, Span
from story import ALICE, BOB, Story, broken

from steeple.domain.states import State


@pytest.fixture
def story() -> Story:
    return Story()


def overlapping(story: Story) -> UUID:
    """A job that runs for a second, is rescued and runs again meanwhile."""
    job = story.submit()
    story.claim(job, ALICE)
    story.effect(job, seconds=5.0)
    return job


def test_6_two_runs_at_the_same_time(story: Story) -> None:
    job = overlapping(story)
    story.rescue(job)
    story.claim(job, BOB)
    story.effect(job)
    assert broken(story) == {"invariant 6"}


def test_6_the_first_runs_worker_was_dead_before(story: Story) -> None:
    job = overlapping(story)
    story.worker(ALICE, ended=True)
    story.rescue(job)
    story.claim(job, BOB)
    story.effect(job)
    assert broken(story) == set()


def test_6_a_worker_that_ended_later_was_alive(story: Story) -> None:
    job = overlapping(story)
    story.rescue(job)
    story.claim(job, BOB)
    story.effect(job)
    story.worker(ALICE, ended=True)
    assert broken(story) == {"invariant 6"}


def test_6_one_after_the_other_is_fine(story: Story) -> None:
    job = story.submit()
    story.claim(job, ALICE)
    story.effect(job, seconds=0.05)
    story.rescue(job)
    story.claim(job, BOB)
    story.effect(job)
    assert broken(story) == set()


@pytest.mark.parametrize("way", ["cancel", "release"])
def test_6_a_job_taken_from_the_task_that_runs_it(story: Story, way: str) -> None:
    job = overlapping(story)
    getattr(story, way)(job)
    assert broken(story) == {"invariant 6"}


def test_6_a_job_that_is_taken_after_its_run_ended(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.effect(job)
    story.pass_time(1.0)
    story.release(job)
    assert broken(story) == set()


def test_6_a_worker_does_not_come_back_to_life(story: Story) -> None:
    story.worker(ALICE, ended=True)
    story.worker(ALICE, ended=None)
    assert broken(story) == {"invariant 6"}


def test_8_two_jobs_of_one_fire(story: Story) -> None:
    schedule, fire = uuid4(), story.now
    story.submit(schedule_id=schedule, run_at=fire)
    story.submit(schedule_id=schedule, run_at=fire + timedelta(hours=1))
    story.submit(schedule_id=uuid4(), run_at=fire)
    assert broken(story) == set()
    story.submit(schedule_id=schedule, run_at=fire)
    assert broken(story) == {"invariant 8"}


def family(story: Story, policy: str = "cancel") -> tuple[UUID, UUID]:
    """A parent that runs, and its child."""
    parent = story.submit()
    story.claim(parent)
    return parent, story.submit(parents=(parent,), on_parent_failure=policy)


def test_a_child_that_is_claimed_when_its_parent_has_ended(story: Story) -> None:
    parent, child = family(story)
    story.finish(parent)
    story.claim(child)
    assert broken(story) == set()


def test_a_child_that_is_claimed_before_its_parent_has_ended(story: Story) -> None:
    _, child = family(story)
    story.claim(child)
    assert broken(story) == {"parents"}


@pytest.mark.parametrize(("policy", "rules"), [("cancel", {"parents"}), ("run", set())])
def test_a_child_that_is_claimed_though_its_parent_failed(story: Story, policy: str, rules: set[str]) -> None:
    parent, child = family(story, policy)
    story.finish(parent, State.FAILED)
    story.claim(child)
    assert broken(story) == rules


def test_a_child_that_was_retried_explicitly_may_be_claimed(story: Story) -> None:
    _, child = family(story)
    story.cancel(child)
    story.reply(Call.RETRY, child)
    story.retry(child)
    story.claim(child)
    assert broken(story) == set()


def test_a_parent_that_was_started_anew_has_ended_before(story: Story) -> None:
    parent, child = family(story)
    story.finish(parent)
    story.reply(Call.RETRY, parent)
    story.retry(parent)
    story.claim(child)
    assert broken(story) == set()


def test_9_two_active_jobs_of_one_unique_key(story: Story) -> None:
    first = story.submit(unique_key="u")
    story.cancel(first)
    second = story.submit(unique_key="u")
    story.claim(second)
    assert broken(story) == set()
    story.submit(unique_key="u")
    assert broken(story) == {"invariant 9"}


def test_9_a_retry_takes_the_key_again(story: Story) -> None:
    first = story.submit(unique_key="u")
    story.cancel(first)
    story.submit(unique_key="u")
    story.reply(Call.RETRY, first)
    story.retry(first)
    assert broken(story) == {"invariant 9"}


def test_9_two_jobs_of_one_idempotency_key(story: Story) -> None:
    first = story.submit(idempotency_owner="o", idempotency_key="k")
    story.cancel(first)
    story.submit(idempotency_owner="p", idempotency_key="k")
    assert broken(story) == set()
    story.submit(idempotency_owner="o", idempotency_key="k")
    assert broken(story) == {"invariant 9"}


def test_9_a_pruned_job_frees_its_key(story: Story) -> None:
    for _ in range(2):
        job = story.submit(idempotency_owner="o", idempotency_key="k")
        story.reply(Call.SUBMIT, job, idempotency=("o", "k"), request="a")
        story.cancel(job)
        story.delete(job)
    assert broken(story) == set()


@pytest.mark.parametrize(
    ("asked_for", "is_same_job"), [("b", True), ("a", False)], ids=["another request", "another job"]
)
def test_9_a_key_stands_for_one_request_and_one_job(story: Story, asked_for: str, is_same_job: bool) -> None:
    first, second = story.submit(), story.submit()
    story.reply(Call.SUBMIT, first, idempotency=("o", "k"), request="a")
    story.reply(Call.SUBMIT, first if is_same_job else second, idempotency=("o", "k"), request=asked_for)
    assert broken(story) == {"invariant 9"}


def test_10_one_too_many_runs(story: Story) -> None:
    jobs = [story.submit() for _ in range(3)]
    limit = Limit("two", 2, frozenset(jobs))
    story.claim(jobs[0])
    story.claim(jobs[1])
    story.finish(jobs[0])
    story.claim(jobs[2])
    assert broken(story, limits=(limit,)) == set()
    assert broken(story, limits=(Limit("one", 1, frozenset(jobs)),)) == {"invariant 10"}


def test_9_a_submit_is_told_of_a_job_that_has_its_key(story: Story) -> None:
    job = story.submit(idempotency_owner="o", idempotency_key="k")
    story.reply(Call.SUBMIT, job, idempotency=("o", "k"), request="a")
    assert broken(story) == set()
    story.reply(Call.SUBMIT, job, idempotency=("o", "l"), request="b")
    assert broken(story) == {"invariant 9"}


def batch(story: Story) -> tuple[UUID, UUID]:
    """Two jobs of one claim, the first of which runs from now on, for long."""
    first, second = story.submit(), story.submit()
    story.claim(first, txid=7)
    story.claim(second, txid=7)
    story.effect(first, seconds=60.0, clock=story.now)
    return first, second


@pytest.mark.parametrize(("seconds", "rules"), [(0.9, set()), (1.1, {"invariant 11"})])
def test_11_by_hand_a_round_leaves_nothing_that_waited(story: Story, seconds: float, rules: set[str]) -> None:
    batch(story)
    story.pass_time(seconds)
    story.round()
    assert broken(story, is_timed=False) == rules


def test_11_by_hand_what_was_released_or_stands_alone_does_not_wait(story: Story) -> None:
    _, second = batch(story)
    alone = story.submit()
    story.claim(alone, txid=8)
    story.release(second)
    story.pass_time(5.0)
    story.round()
    assert broken(story, is_timed=False) == set()


@pytest.mark.parametrize(("seconds", "rules"), [(0.9, set()), (1.1, {"invariant 11"})])
def test_11_by_hand_a_start_long_after_the_neighbours(story: Story, seconds: float, rules: set[str]) -> None:
    first, second = story.submit(), story.submit()
    story.claim(first, txid=7)
    story.claim(second, txid=7)
    story.effect(first, clock=story.now)
    story.pass_time(seconds)
    story.effect(second, clock=story.now)
    assert broken(story, is_timed=False) == rules


def test_11_by_hand_a_slot_that_rests_holds_nothing(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.finish(job)
    story.rest()
    assert broken(story, is_timed=False) == set()
    story.claim(story.submit())
    story.rest()
    assert broken(story, is_timed=False) == {"invariant 11"}


@pytest.mark.parametrize("way", ["release", "effect", "finish"])
def test_11_a_claim_that_waits(story: Story, way: str) -> None:
    job = story.submit()
    story.claim(job)
    story.pass_time(1.5)
    if way == "finish":
        story.finish(job, started_at=story.now)
    else:
        getattr(story, way)(job)
    if way == "release":
        story.claim(job)
        story.effect(job)
    assert broken(story) == set()
    assert broken(story, slack=timedelta(seconds=0.2)) == {"invariant 11"}
    assert broken(story, slack=timedelta(seconds=0.2), is_timed=False) == set()


def test_11_in_troubled_times_nothing_is_asked(story: Story) -> None:
    job = story.submit()
    since: datetime = story.now
    story.claim(job)
    story.pass_time(30.0)
    story.effect(job)
    assert broken(story) == {"invariant 11"}
    assert broken(story, troubles=(Span(since + timedelta(seconds=9), since + timedelta(seconds=20)),)) == set()


def test_12_a_run_without_a_claim(story: Story) -> None:
    job = story.submit()
    story.effect(job, fence=1, attempt=1)
    assert broken(story) == {"invariant 12"}


def test_12_a_run_as_another_attempt_than_was_claimed(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.effect(job, attempt=2)
    assert broken(story) == {"invariant 12"}


def test_12_a_claim_that_a_crash_of_the_server_lost_had_a_fence_that_is_handed_out_again(story: Story) -> None:
    job = story.submit()
    story.effect(job, fence=1, attempt=1)
    crash = story.now
    story.pass_time(1.0)
    story.claim(job)
    story.effect(job)
    story.finish(job)
    assert broken(story, server_crashes=(crash,)) == {"invariant 12"}


def test_12_forged_messages_are_dropped_and_counted(story: Story) -> None:
    assert broken(story, forged=3, dropped=3) == set()
    assert broken(story, forged=3, dropped=2) == {"invariant 12"}


def test_an_answer_of_refusal_binds_nobody(story: Story) -> None:
    job = story.submit(idempotency_owner="o", idempotency_key="k")
    story.reply(Call.SUBMIT, job, idempotency=("o", "k"), request="a")
    story.reply(Call.SUBMIT, job, answer=Answer.REFUSED, idempotency=("o", "k"), request="b")
    story.cancel(job, state=State.CANCELLED)
    assert broken(story) == set()

"""The checker itself: a history that keeps the promise passes every rule, and each breach is told by its own rule.

What concerns several jobs is in ``test_checker_of_many_jobs``, and cancellations in ``test_checker_of_cancels``.
"""

from datetime import timedelta
from uuid import uuid4

import pytest
from checker import RULES, assert_holds, check
from history import Answer, Call, Row
from story import ALICE, BOB, START, Story, broken

from steeple.domain.states import State


@pytest.fixture
def story() -> Story:
    return Story()


def everything(story: Story) -> None:
    """Every way from state to state, as it should be."""
    story.worker(ALICE, ended=False)
    job = story.submit(unique_key="u", idempotency_owner="o", idempotency_key="k", max_attempts=5)
    for _ in range(2):
        story.reply(Call.SUBMIT, job, idempotency=("o", "k"), request="a")
    story.reply(Call.SUBMIT, answer=Answer.REFUSED, idempotency=("o", "k"), request="b")
    story.claim(job)
    story.release(job)
    story.claim(job)
    story.effect(job)
    story.finish(job, State.PENDING, run_at=story.now)
    story.claim(job)
    story.effect(job, seconds=None)
    story.rescue(job)
    story.claim(job)
    story.effect(job)
    story.finish(job)
    story.reply(Call.SHOW, job, state=State.SUCCESS)
    story.reply(Call.RETRY, job)
    story.retry(job)
    story.claim(job)
    story.change(job, is_cancel_requested=True)
    story.reply(Call.CANCEL, job)
    story.cancel(job)
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED)
    story.delete(job)
    story.worker(ALICE, ended=True)


@pytest.mark.parametrize("rule", RULES)
def test_a_history_that_keeps_the_promise_passes(story: Story, rule: str) -> None:
    everything(story)
    history = story.history(healed_at=story.now, forged=2, dropped=2)
    assert [violation for violation in check(history) if violation.rule == rule] == []


def test_a_violation_names_the_rule_the_job_and_its_lines(story: Story) -> None:
    job = story.submit()
    story.delete(job)
    with pytest.raises(AssertionError) as found:
        assert_holds(story.history())
    assert f"invariant 1: job {job}: was deleted while PENDING\n    #2 12:00:00.100000 {job}" in str(found.value)


def test_1_an_accepted_job_that_never_was(story: Story) -> None:
    story.reply(Call.SUBMIT, uuid4())
    assert broken(story) == {"invariant 1"}


def test_1_an_accepted_job_that_vanished(story: Story) -> None:
    story.reply(Call.SUBMIT, story.submit())
    assert broken(story, present={}) == {"invariant 1"}


def test_1_of_an_unknown_outcome_nothing_is_asked(story: Story) -> None:
    story.reply(Call.SUBMIT, uuid4(), answer=Answer.UNKNOWN)
    assert broken(story) == set()


def test_1_a_job_deleted_before_its_end(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.delete(job)
    assert broken(story) == {"invariant 1"}


def test_2_a_job_that_never_ends(story: Story) -> None:
    story.claim(story.submit())
    assert broken(story) == set()
    assert broken(story, healed_at=START) == {"invariant 2"}


def test_2_a_job_that_ends_late(story: Story) -> None:
    job = story.submit()
    story.pass_time(70.0)
    story.claim(job)
    story.finish(job)
    assert broken(story, healed_at=START) == {"invariant 2"}
    assert broken(story, healed_at=START + timedelta(seconds=30)) == set()


def test_2_a_job_that_is_due_later_has_its_time_from_then(story: Story) -> None:
    job = story.submit(run_at=START + timedelta(seconds=65))
    story.pass_time(70.0)
    story.claim(job)
    story.finish(job)
    assert broken(story, healed_at=START) == set()


def test_3_an_end_that_is_undone_without_a_retry(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.finish(job)
    story.retry(job)
    assert broken(story) == {"invariant 3"}


def test_3_a_retry_that_was_refused_changes_nothing(story: Story) -> None:
    job = story.submit()
    story.cancel(job)
    story.reply(Call.RETRY, job, answer=Answer.REFUSED)
    story.retry(job)
    assert broken(story) == {"invariant 3"}


def test_3_one_retry_of_an_unknown_outcome_allows_one(story: Story) -> None:
    job = story.submit()
    story.reply(Call.RETRY, job, answer=Answer.UNKNOWN)
    for expected in (set(), {"invariant 3"}):
        story.cancel(job)
        story.retry(job)
        assert broken(story) == expected


def test_3_an_end_that_becomes_another(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.finish(job)
    story.cancel(job, result=None, fence_named=None)
    assert broken(story) == {"invariant 3", "invariant 4", "table of states"}


def test_3_an_end_that_a_client_saw_and_nobody_else(story: Story) -> None:
    story.reply(Call.SHOW, story.submit(), state=State.SUCCESS)
    assert broken(story) == {"invariant 3"}


@pytest.mark.parametrize("way", ["claim", "release", "rescue", "cancel", "retry"])
def test_4_a_fence_that_does_not_grow(story: Story, way: str) -> None:
    job = story.submit(fence=0)
    if way != "claim":
        story.claim(job)
    if way == "retry":
        story.cancel(job)
        story.reply(Call.RETRY, job)
    getattr(story, way)(job, fence=0 if way in ("claim", "retry") else 1)
    assert broken(story) == {"invariant 4"}


def test_4_a_fence_or_state_that_changes_unseen(story: Story) -> None:
    job = story.submit()
    assert broken(story, present={job: Row(State.PENDING, 5)}) == {"invariant 4"}
    assert broken(story, present={job: Row(State.SUCCESS, 0)}) == {"invariant 4"}


def test_4_two_claims_under_one_fence(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.release(job)
    story.claim(job, fence=1)
    assert [each.what for each in check(story.history())] == [
        "fence 1 where 3 was due",
        "was claimed twice under one fence",
    ]


def test_a_finish_does_not_raise_the_fence(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.finish(job, fence=2)
    assert broken(story) == {"invariant 4", "invariant 5"}


@pytest.mark.parametrize("state", [State.SUCCESS, State.PENDING, State.FAILED])
def test_5_the_outcome_of_an_earlier_claim(story: Story, state: State) -> None:
    job = story.submit()
    story.claim(job)
    story.release(job)
    story.claim(job)
    story.finish(job, state, fence_named=1)
    assert broken(story) == {"invariant 5"}


def test_7_more_attempts_than_allowed(story: Story) -> None:
    job = story.submit(max_attempts=1, attempt=1)
    story.claim(job)
    assert broken(story) == {"invariant 7"}


def test_7_a_release_that_counts(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.release(job, attempt=1)
    assert broken(story) == {"invariant 7"}


def test_7_a_claim_that_does_not_count(story: Story) -> None:
    job = story.submit()
    story.claim(job, attempt=0)
    assert broken(story) == {"invariant 7"}


def test_7_a_finish_that_counts_a_crash(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.finish(job, crashes=1)
    assert broken(story) == {"invariant 7"}


@pytest.mark.parametrize(("crashes", "state"), [(2, State.PENDING), (1, State.FAILED), (3, State.PENDING)])
def test_7_a_crash_cap_that_is_off_by_one(story: Story, crashes: int, state: State) -> None:
    job = story.submit(max_attempts=9, crashes=crashes)
    story.claim(job)
    story.rescue(job, state=state)
    assert broken(story) == {"invariant 7"}


def test_7_an_attempt_that_ran_and_must_not(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.effect(job, attempt=4)
    assert broken(story) == {"invariant 7", "invariant 12"}


def test_the_table_of_states_knows_no_such_way(story: Story) -> None:
    job = story.submit()
    story.change(job, state=State.SUCCESS)
    assert broken(story) == {"table of states"}


def test_within_a_state_nothing_changes(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.change(job, worker_id=BOB)
    assert broken(story) == {"table of states"}


def test_only_a_pending_job_is_edited(story: Story) -> None:
    job = story.submit()
    story.change(job, max_attempts=9)
    assert broken(story) == set()
    story.claim(job)
    story.change(job, max_attempts=8)
    assert broken(story) == {"table of states"}


def test_a_claim_before_its_time(story: Story) -> None:
    job = story.submit(run_at=START + timedelta(seconds=600))
    story.claim(job, started_at=START + timedelta(seconds=601))  # by a clock that is ahead
    assert {each.what.split(" 2026")[0] for each in check(story.history())} == {
        "was claimed before its time",
        "was claimed at",
    }


@pytest.mark.parametrize(("seconds", "rules"), [(0, set()), (-60, {"times"}), (60, {"times"})])
def test_a_retry_is_due_at_once(story: Story, seconds: int, rules: set[str]) -> None:
    job = story.submit()
    story.cancel(job)
    story.reply(Call.RETRY, job)
    story.retry(job, run_at=story.now + timedelta(seconds=seconds))
    assert broken(story) == rules


def test_a_claim_after_its_expiry(story: Story) -> None:
    story.claim(story.submit(expires_at=START))
    assert broken(story) == {"times"}

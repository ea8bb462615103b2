"""The checker's rule about cancellations."""

import pytest
from history import Answer, Call
from story import Story, broken

from steeple.domain.states import State


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_job_goes_on_after_its_cancellation_was_asked_for(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.change(job, is_cancel_requested=True)
    story.finish(job, State.PENDING)
    assert broken(story) == {"cancellation"}


def test_a_cancellation_of_a_running_job_is_refused(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED)
    assert broken(story) == {"cancellation"}


def test_a_cancellation_of_a_job_that_nobody_knew_of_may_be_refused(story: Story) -> None:
    """Its submit was under way."""
    job = story.submit()
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED)
    assert broken(story) == set()
    story.reply(Call.SUBMIT, job)
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED)
    assert broken(story) == {"cancellation"}


def test_a_cancellation_of_a_job_that_was_pruned_may_be_refused(story: Story) -> None:
    job = story.submit()
    story.reply(Call.SUBMIT, job)
    story.cancel(job)
    story.delete(job)
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED)
    assert broken(story) == set()


def test_a_cancellation_that_met_the_end_may_be_refused(story: Story) -> None:
    job = story.submit()
    story.claim(job)
    asked_at = story.now
    story.finish(job)
    story.reply(Call.CANCEL, job, answer=Answer.REFUSED, asked_at=asked_at)
    assert broken(story) == set()

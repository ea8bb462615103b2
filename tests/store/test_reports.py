"""What running attempts say: progress under its fence, log lines in their order."""

from uuid import uuid4

from playground import Playground, claim_of, end
from steeple.domain.states import State
from steeple.store import reports, transitions
from steeple.store.reports import Line, NewLine, Progress


def progress(playground: Playground, *said: Progress) -> None:
    with playground.engine.begin() as connection:
        reports.store_progress(connection, said)


def test_progress_is_stored_while_the_claim_holds(playground: Playground) -> None:
    claimant = playground.worker()
    held, taken, ended = (playground.running(claimant) for _ in range(3))
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(taken)])
    playground.finish(claimant, end(ended, State.SUCCESS))
    progress(playground, *(Progress(job.id, job.fence, '{"fraction":0.5}') for job in (held, taken, ended)))
    assert [playground.read(job.id).progress for job in (held, taken, ended)] == ['{"fraction":0.5}', None, None]


def test_a_new_claim_starts_without_progress(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    progress(playground, Progress(job.id, job.fence, "{}"))
    playground.finish(claimant, end(job, State.PENDING, retry_in=0.0))
    playground.claim(claimant)
    assert playground.read(job.id).progress is None


def test_lines_are_read_page_by_page_in_the_order_they_were_written(playground: Playground) -> None:
    job_id = playground.add()
    with playground.engine.begin() as connection:
        lines = [NewLine(job_id, 1, float(9 - place), f"line {place}", '{"n":1}') for place in range(5)]
        reports.store_lines(connection, lines)
        first = reports.read_lines(connection, job_id, limit=3)
        rest = reports.read_lines(connection, job_id, after=first[-1].id)
    found: list[Line] = first + rest
    assert [line.message for line in found] == [f"line {place}" for place in range(5)]
    assert [line.at for line in found] == sorted(line.at for line in found)
    assert (found[0].attempt, found[0].fields, len(first)) == (1, {"n": 1}, 3)


def test_lines_of_a_job_that_is_gone_do_not_lose_the_others(playground: Playground) -> None:
    job_id = playground.add()
    with playground.engine.begin() as connection:
        reports.store_lines(connection, [NewLine(each, 1, 0.0, "said", "{}") for each in (uuid4(), job_id)])
        assert len(reports.read_lines(connection, job_id)) == 1

"""Every event that Steeple logs, one function each: the only place that names them and their fields."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.outcome import Verdict
from steeple.telemetry.logs import event_logger

_log = event_logger("steeple")
_plain_log = logging.getLogger("steeple")
"""Asking it costs a twentieth."""


def wake_failed(error: BaseException) -> None:
    """The broker is away: jobs start when the scheduler's wake-ups get through."""
    _log.warning("wake_failed", error=repr(error))


def worker_started(name: str, slots: int, queues: Sequence[str] | None, priorities: Sequence[str]) -> None:
    _log.info("worker_started", worker=name, slots=slots, queues=queues or "all", priorities=list(priorities))


def worker_cut_off(name: str, line: str, seconds: float) -> None:
    """It has been able to do nothing for long, and stops for its supervisor to start it again."""
    _log.error("worker_cut_off", worker=name, cut_off_from=line, seconds=round(seconds))


def worker_draining(name: str) -> None:
    """No job is claimed any more; those that run have the shutdown grace."""
    _log.info("worker_draining", worker=name)


def worker_stopped(name: str) -> None:
    _log.info("worker_stopped", worker=name)


def worker_taken_for_dead(name: str) -> None:
    """Its heartbeats did not arrive for too long: its jobs are no longer its own, and it begins anew."""
    _log.error("worker_taken_for_dead", worker=name)


def slot_started(worker: str, slot: int, pid: int) -> None:
    """From here on, every event of the slot's main thread names its worker and its slot."""
    structlog.contextvars.bind_contextvars(worker=worker, slot=slot)
    _log.debug("slot_started", pid=pid)


def slot_failed(error: BaseException) -> None:
    """A pool process could not become a slot; another one tries."""
    _log.error("slot_failed", exc_info=error)


def slot_died(slot: int, pid: int, claims: Sequence[Claim]) -> None:
    _log.error("slot_died", slot=slot, pid=pid, jobs=[str(claim.id) for claim in claims])


def claims_forgotten(claims: Collection[Claim]) -> None:
    """The database held them for this worker, and no slot knew of them: they went back."""
    _log.warning("claims_forgotten", jobs=[str(claim.id) for claim in claims])


def stop_asked(claim: Claim, reason: str) -> None:
    """A running task was sent the soft signal."""
    _log.info("stop_asked", reason=reason, **_of(claim))


def slot_killed(slot: int, pid: int, claim: Claim, reason: str) -> None:
    """The task did not heed the soft signal."""
    _log.warning("slot_killed", slot=slot, pid=pid, reason=reason, **_of(claim))


def attempt_ended(job: ClaimedJob, verdict: Verdict, seconds: float) -> None:
    """Every failure is told; the rest where somebody wants to know it all."""
    if verdict.error is None and not _plain_log.isEnabledFor(logging.DEBUG):
        return
    log = _log.debug if verdict.error is None else _log.warning
    log(
        "attempt_ended",
        job_id=str(job.id),
        fence=job.fence,
        task=job.task,
        attempt=job.attempt,
        state=verdict.state.value,
        seconds=round(seconds, 4),
        reason=None if verdict.error is None else verdict.error.reason.value,
        error=None if verdict.error is None else f"{verdict.error.type}: {verdict.error.message}",
        retry_in=verdict.retry_in,
    )


def stale_finish(claim: Claim) -> None:
    """An outcome came too late: the job had been taken away."""
    _log.warning("stale_finish", **_of(claim))


def wake_dropped(what: str) -> None:
    """A message that is no wake-up of ours."""
    _log.warning("wake_dropped", what=what)


def broker_lost(error: BaseException) -> None:
    _log.warning("broker_lost", error=repr(error))


def broker_away(error: BaseException, retry_in: float) -> None:
    _log.warning("broker_away", error=repr(error), retry_in=retry_in)


def database_failed(error: BaseException) -> None:
    _log.warning("database_failed", error=_first_line(error))


def coroutine_exited(error: BaseException) -> None:
    """A task that an async task had started raised SystemExit or the like."""
    _log.warning("coroutine_exited", error=repr(error))


def warden_failed(error: BaseException) -> None:
    _log.error("warden_failed", exc_info=error)


def clerk_failed(error: BaseException) -> None:
    _log.error("clerk_failed", exc_info=error)


def _of(claim: Claim | None) -> dict[str, object]:
    return {} if claim is None else {"job_id": str(claim.id), "fence": claim.fence}


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def scheduler_started() -> None:
    _log.info("scheduler_started")


def scheduler_stopped() -> None:
    _log.info("scheduler_stopped")


def trouble_began(with_what: str, error: BaseException) -> None:
    """Something does not work; it is tried again and again, and not mentioned again until it is over."""
    is_away = with_what in {"broker", "database"}
    _log.error("trouble_began", with_what=with_what, error=_first_line(error), exc_info=None if is_away else error)


def trouble_over(with_what: str) -> None:
    _log.info("trouble_over", with_what=with_what)


def worker_buried(name: str, dead_after: float) -> None:
    """No heartbeat for too long: its jobs are rescued, and it may claim no more."""
    _log.error("worker_buried", worker=name, dead_after=dead_after)


def jobs_rescued(jobs: int, message: str) -> None:
    _log.warning("jobs_rescued", jobs=jobs, why=message)


def jobs_expired(jobs: int) -> None:
    _log.info("jobs_expired", jobs=jobs)


def jobs_pruned(jobs: int) -> None:
    _log.debug("jobs_pruned", jobs=jobs)


def fire_failed(schedule_id: UUID, time: datetime, why: str | None) -> None:
    """A schedule's fire could make no job."""
    _log.error("fire_failed", schedule_id=str(schedule_id), time=time.isoformat(), why=why)


def fires_missed(schedule_id: UUID, time: datetime, why: str | None) -> None:
    """From this time on, fires of a schedule are not made up."""
    _log.warning("fires_missed", schedule_id=str(schedule_id), time=time.isoformat(), why=why)


def schedule_name_taken(name: str) -> None:
    """Declared in code, and there is one of this name that was made over the API: that is left as it is."""
    _log.error("schedule_name_taken", schedule=name)


def operation_done(operation_id: UUID, action: str, *, done: int, skipped: int) -> None:
    _log.info("operation_done", operation_id=str(operation_id), action=action, done=done, skipped=skipped)


def operation_held_up(operation_id: UUID, error: BaseException) -> None:
    """It waits for somebody who holds a job or a unique key for long; it tries again."""
    _log.warning("operation_held_up", operation_id=str(operation_id), error=_first_line(error))


def api_started(url: str) -> None:
    _log.info("api_started", url=url)


def api_stopped() -> None:
    _log.info("api_stopped")


def api_is_open(url: str) -> None:
    """Until the first key is made, every program on this machine may do everything."""
    _log.warning("api_is_open", url=url, close_it="steeple keys create NAME --scope admin")


def request_failed(method: str, path: str, request_id: str, error: BaseException) -> None:
    """A fault of ours."""
    _log.error("request_failed", method=method, path=path, request_id=request_id, exc_info=error)


def request_unavailable(method: str, path: str, request_id: str, error: BaseException) -> None:
    """The database is away or overloaded."""
    _log.warning("request_unavailable", method=method, path=path, request_id=request_id, error=_first_line(error))

"""Every event that Steeple logs, one function each: the only place that names them and their fields."""

from steeple.telemetry.logs import event_logger

_log = event_logger("steeple")


def wake_failed(error: BaseException) -> None:
    """The broker is away: jobs start when the scheduler's wake-ups get through."""
    _log.warning("wake_failed", error=repr(error))

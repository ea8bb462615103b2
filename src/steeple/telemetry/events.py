"""Every event that Steeple logs, one function each: the only place that names them and their fields."""

from typing import Any

import structlog

_log: Any = structlog.get_logger("steeple")


def wake_failed(error: BaseException) -> None:
    """The broker is away: jobs start when the scheduler's wake-ups get through."""
    _log.warning("wake_failed", error=repr(error))

"""Steeple: a job scheduler. PostgreSQL decides, Celery runs, nothing accepted is lost.

The public face. Names are loaded when they are first used, so that the light install (the HTTP client) can import it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steeple.app import Steeple as Steeple
    from steeple.client import AsyncClient as AsyncClient
    from steeple.client import Client as Client
    from steeple.context import Context as Context
    from steeple.context import Parent as Parent
    from steeple.context import Reports as Reports
    from steeple.domain.priority import Priority as Priority
    from steeple.domain.retry import Retry as Retry
    from steeple.domain.states import State as State
    from steeple.errors import Cancelled as Cancelled
    from steeple.errors import Reject as Reject
    from steeple.errors import RetryIn as RetryIn
    from steeple.errors import SteepleError as SteepleError
    from steeple.errors import TimedOut as TimedOut
    from steeple.flow import Flow as Flow
    from steeple.flow import FlowHandle as FlowHandle
    from steeple.handle import Handle as Handle
    from steeple.settings import Settings as Settings

_HOMES = {
    "AsyncClient": "steeple.client",
    "Cancelled": "steeple.errors",
    "Client": "steeple.client",
    "Context": "steeple.context",
    "Flow": "steeple.flow",
    "FlowHandle": "steeple.flow",
    "Handle": "steeple.handle",
    "Parent": "steeple.context",
    "Priority": "steeple.domain.priority",
    "Reject": "steeple.errors",
    "Reports": "steeple.context",
    "Retry": "steeple.domain.retry",
    "RetryIn": "steeple.errors",
    "Settings": "steeple.settings",
    "State": "steeple.domain.states",
    "Steeple": "steeple.app",
    "SteepleError": "steeple.errors",
    "TimedOut": "steeple.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'steeple' has no attribute {name!r}")
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.startswith("steeple"):
            raise
        message = f"steeple.{name} needs more than the light install: pip install 'steeple[server]'"
        raise ImportError(message) from missing


def __dir__() -> list[str]:
    return __all__

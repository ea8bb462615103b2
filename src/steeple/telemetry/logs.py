"""How parts log: events with fields, through the standard library's logging, to stderr. What is logged, and its fields,
is in ``events.py``."""

import logging
import os
import sys
from typing import Any, Final

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict, Processor, WrappedLogger

from steeple.settings import Settings
from steeple.telemetry.redaction import redact

_LIBRARIES: Final = ("alembic", "amqp", "asyncio", "celery", "kombu", "redis", "sqlalchemy", "uvicorn")
"""Their chatter is not ours; what they warn of is."""

# Through logging, whose handlers' locks are made anew in a forked child: those of structlog's own loggers may be
# copied while they are held.
_HAND_OVER: Final[tuple[Processor, ...]] = (
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
    ProcessorFormatter.wrap_for_formatter,
)
_FOREIGN: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
)


def event_logger(name: str) -> Any:
    """A logger for events. In a program that never calls ``configure`` they go where its own logging goes."""
    return structlog.wrap_logger(
        logging.getLogger(name), processors=list(_HAND_OVER), wrapper_class=structlog.stdlib.BoundLogger
    )


def configure(settings: Settings, part: str) -> None:
    """Log to stderr as the settings say; every line names the ``part``. May be called again.

    What a task logs, through logging or structlog, ends up in the same place with the same fields.
    """
    handler = logging.StreamHandler(sys.stderr)
    # No fork while a thread writes: the child would find stderr's buffer locked, by a thread that it does not have.
    os.register_at_fork(before=handler.acquire, after_in_parent=handler.release)
    handler.setFormatter(_formatter(settings, part, colours=sys.stderr.isatty()))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    least = max(logging.WARNING, logging.root.level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(least)
    if not structlog.is_configured():
        structlog.configure(
            processors=list(_HAND_OVER),
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


def _formatter(settings: Settings, part: str, *, colours: bool) -> ProcessorFormatter:
    def name_part(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["part"] = part
        return event

    return ProcessorFormatter(
        foreign_pre_chain=_FOREIGN,
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_part,
            redact,
            _renderer(settings, colours=colours),
        ],
    )


def _renderer(settings: Settings, *, colours: bool) -> Processor:
    if settings.log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)

"""The Celery app of every part. The broker carries one kind of message, a wake-up, and nothing else is understood."""

import socket
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Queue

from steeple.domain.priority import Binding, Lane, Priority, is_queue_name
from steeple.errors import ConfigurationError
from steeple.settings import Settings

WAKE_TASK = "steeple.wake"
WAKE_VERSION = 1
"""Of the message's format; a worker drops what it does not know."""

_EVERY_QUEUE = "*"
_CONNECT_SECONDS = 5.0

_CONFIGURATION: dict[str, Any] = {
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    # A wake-up is used up when it arrives: whatever becomes of its slot, the jobs are in the database.
    "task_acks_late": False,
    "task_publish_retry": False,
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry": True,
    # A Redis that is full refuses what the consumer writes there. That passes; a worker that ended would take its
    # running tasks along.
    "broker_channel_error_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": _CONNECT_SECONDS,
    "broker_heartbeat": 10,
    "broker_pool_limit": 4,
}
# A consumer waits for its connection to be readable, and would wait on one that a cut link has left behind: as long
# again as the link was cut, for so TCP repeats itself. Instead what is not heard of for so long is dead; connect anew.
_UNHEARD_MILLISECONDS = 5000
_TCP_OPTIONS = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 3,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": _UNHEARD_MILLISECONDS,
    }.items()
    if hasattr(socket, name)  # not every system has each
}
_REDIS_OPTIONS = {
    "socket_connect_timeout": _CONNECT_SECONDS,
    "socket_timeout": 10.0,
    "socket_keepalive": True,
    "socket_keepalive_options": _TCP_OPTIONS,
    "health_check_interval": 10,
    "global_keyprefix": "",
    "priority_steps": [0],  # one list for each lane, not four: a lane has its priority in its name
}

# For those who only publish: what cannot be sent at once is sent by the scheduler, a moment later.
_IMPATIENT = {"socket_connect_timeout": 1.0, "socket_timeout": 1.0, "retry_on_timeout": False}


def broker_url(settings: Settings) -> str:
    """Raises ``ConfigurationError`` if none is set, or if it is no URL."""
    if settings.broker_url is None:
        raise ConfigurationError("no broker: set STEEPLE_BROKER_URL, such as redis://host:6379/0")
    url = settings.broker_url.get_secret_value()
    if not all(map(_is_readable, url.split(";"))):  # without a word of it: it may be a part of the password
        raise ConfigurationError(
            "STEEPLE_BROKER_URL is no URL such as redis://:password@host:6379/0; in the password, write special "
            "characters by their codes, such as %2F for /"
        )
    return url


def _is_readable(url: str) -> bool:
    """False where kombu would find fault with the port, or with the number of the database."""
    try:
        parts = urlsplit(url)
        number = parts.path.strip("/")
        return parts.port != 0 and (parts.scheme not in ("redis", "rediss") or not number or number.isdecimal())
    except ValueError:
        return False


def make_celery(settings: Settings, binding: Binding | None = None) -> Celery:
    """A Celery app that publishes wake-ups, and with a ``binding`` waits for them in its lanes."""
    url = broker_url(settings)
    app = Celery("steeple", broker=url, set_as_current=False)
    app.conf.update(_CONFIGURATION)
    if url.startswith(("redis", "rediss")):
        app.conf.broker_transport_options = _REDIS_OPTIONS if binding is not None else _REDIS_OPTIONS | _IMPATIENT
    if binding is not None:
        app.conf.task_queues = [Queue(queue_name(lane)) for lane in binding.lanes()]
    return app


def queue_name(lane: Lane) -> str:
    """The Celery queue of a lane: ``steeple.default.high``, or ``steeple.*.high`` for workers of every queue."""
    return f"steeple.{lane.queue or _EVERY_QUEUE}.{lane.priority}"


def wake_keywords(lane: Lane) -> dict[str, Any]:
    """What a wake-up says: all that the message's format holds."""
    return {"version": WAKE_VERSION, "queue": lane.queue, "priority": lane.priority.value}


def read_wake(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Lane | None:
    """The lane that a wake-up names; None if the message is not one of ours, or of another format."""
    match arguments, keywords:
        case (), {"version": int(version), "queue": None | str() as queue, "priority": str(priority)}:
            known = version == WAKE_VERSION and (queue is None or is_queue_name(queue)) and priority in tuple(Priority)
            return Lane(queue, Priority(priority)) if known else None
    return None


def is_redis(channel: Any) -> bool:
    """Whether a channel's queues are lists in Redis: what is taken from one is gone from it."""
    return getattr(channel.connection, "driver_type", None) == "redis"


def ping(settings: Settings) -> None:
    """Raises whatever is in the way if the broker does not answer within 5 seconds."""
    with make_celery(settings) as app, app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)
        with connection.channel():
            pass

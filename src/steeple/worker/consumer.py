"""Celery's consumer, with our ways at its edges: quick to reconnect, and nothing taken from the broker on trust."""

from time import sleep
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from steeple.broker.celery_app import is_redis
from steeple.telemetry import events

_LONGEST_PAUSE = 1.0
"""Seconds between attempts to connect; jobs are to flow within 5 s of the broker's return."""


class WakeConsumer(Consumer):  # type: ignore[misc]
    """``controller.on_dropped`` is told of every message that was no wake-up, ``on_broker`` whether one can come."""

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection(
            self._on_away,
            interval_start=0.2,
            interval_step=0.2,
            interval_max=_LONGEST_PAUSE,
            callback=state.maybe_shutdown,
        )
        self.first_connection_attempt = False
        return conn

    def loop_args(self) -> Any:
        """Celery asks for these when all is set up and messages can come."""
        self.controller.on_broker(is_there=True)
        self.task_consumer.no_ack = is_redis(self.task_consumer.channel)
        return super().loop_args()

    def on_connection_error_before_connected(self, exc: BaseException) -> None:
        """A broker that takes the connection and refuses what follows, such as a Redis that is full."""
        self.controller.on_broker(is_there=False)
        events.broker_lost(exc)
        sleep(_LONGEST_PAUSE)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        self.controller.on_broker(is_there=False)
        super().on_connection_error_after_connected(exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._drop(message, "a message of an unknown form")

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:
        self._drop(message, "a message for a task that is none of ours")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
        self._drop(message, "a message with an invalid body")

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        self._drop(message, f"a message that cannot be decoded: {type(exc).__name__}")

    def _on_away(self, error: BaseException, retry_in: float) -> None:
        self.controller.on_broker(is_there=False)
        events.broker_away(error, retry_in)

    def _drop(self, message: Any, what: str) -> None:
        message.ack_log_error(_Log, self.connection_errors)
        self.controller.on_dropped(what)


class WakeRequest(Request):  # type: ignore[misc]
    """A wake-up that is on its way to a slot.

    Redis would be told of each, twice, that it came and that it was heard, while the slot is kept waiting. If one is
    lost with its worker, that costs no job: the scheduler wakes others.
    """

    def acknowledge(self) -> None:
        if is_redis(self.message.channel):
            self.acknowledged = True
        else:
            super().acknowledge()


class _Log:
    """Where kombu says that an acknowledgement did not get through."""

    @staticmethod
    def critical(_message: str, error: BaseException, *_: Any, **__: Any) -> None:
        events.broker_lost(error)

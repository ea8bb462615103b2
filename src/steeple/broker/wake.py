"""Sends wake-ups: always one after the commit, and where it is quiet another one ahead of it. What cannot be sent costs
latency only: the scheduler looks again a moment later."""

import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self

from amqp.exceptions import ChannelError
from celery import Celery
from kombu import Connection

from steeple.broker.celery_app import WAKE_TASK, is_redis, make_celery, queue_name, wake_keywords
from steeple.broker.redis_lists import RedisLists
from steeple.domain.priority import Lane
from steeple.domain.waking import Crew, Wakes, plan_wakes
from steeple.settings import Settings
from steeple.telemetry import events

_COALESCE_SECONDS = 0.002
"""After one round of sending, how long wake-ups gather for the next."""

_AHEAD_SECONDS = 0.005
"""The same after a wake-up ahead of its job: its slot is not disturbed while it claims that."""

_ON_THE_WAY_SECONDS = 0.002
"""A commit that takes longer than this may come after the slot has looked in vain: then there is no more waiting."""

_QUIET_SECONDS = 0.01
"""So long after a round of sending it is quiet: what can wait is done, and the next job is worth a wake-up ahead."""

_OVERDUE_SECONDS = 2.0
"""What can wait is done at last, quiet or not."""

_AFTER_FAILURE_SECONDS = 1.0


class Publisher:
    """A connection to the broker that sends wake-ups. For one thread."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._redis_lists = RedisLists(celery)
        self._connection: Connection | None = None
        self._producer: Any = None

    def publish(self, wakes: Mapping[Lane, Wakes]) -> int:
        """Send what is missing of ``wakes``; returns how many. Raises what the transport does if the broker is away."""
        try:
            return sum(self._send(lane, wanted) for lane, wanted in wakes.items())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.release()
        self._connection = self._producer = None

    def _send(self, lane: Lane, wanted: Wakes) -> int:
        channel = self._open()
        if is_redis(channel):
            return self._redis_lists.push(channel.client, lane, wanted)
        name = queue_name(lane)
        missing = wanted.missing(_waiting(channel, name))
        for _ in range(missing):
            self._celery.send_task(
                WAKE_TASK,
                kwargs=wake_keywords(lane),
                queue=self._celery.amqp.queues.select_add(name),
                producer=self._producer,
                ignore_result=True,
            )
        return missing

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._celery.connection_for_write()
            self._connection.ensure_connection(max_retries=0)
            self._producer = self._celery.amqp.Producer(self._connection, auto_declare=False)
        return self._connection.default_channel


def _waiting(channel: Any, name: str) -> int:
    """How many messages are in the queue."""
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except ChannelError:  # no worker has made it yet
        return 0


class Waker:
    """Gathers the lanes of new jobs and wakes their workers from a thread of its own. Any thread may call ``wake``.

    ``fleet`` tells which workers live; it is asked before each round of sending. ``when_quiet`` is for what can wait
    until after one; it raises nothing.
    """

    def __init__(
        self, settings: Settings, fleet: Callable[[], Sequence[Crew]], when_quiet: Callable[[], None] = lambda: None
    ) -> None:
        self._publisher = Publisher(make_celery(settings))
        self._fleet = fleet
        self._when_quiet = when_quiet
        self._was_quiet_at = self._sent_at = self._expected_at = float("-inf")
        self._due: dict[Lane, int] = {}
        self._is_ahead = False
        """What is noted holds a job that is yet to be stored."""
        self._lock = threading.Lock()
        self._has_work = threading.Event()
        self._is_late = threading.Event()
        """A job is stored that was expected earlier."""
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def expect(self, lane: Lane) -> None:
        """Note that a job is about to be stored that will be due in this lane. Returns at once.

        To reach a slot takes about as long as to store a job, so that where it is quiet both begin now. A slot that
        comes too early finds nothing, and the wake-up after the commit is what it always is.
        """
        now = monotonic()
        if now - self._sent_at > _QUIET_SECONDS:
            self._expected_at = now
            self._is_late.clear()
            self._note({lane: 1}, is_ahead=True)

    def wake(self, lanes: Mapping[Lane, int]) -> None:
        """Note that so many jobs became due in these lanes. Returns at once."""
        self._note(lanes, is_ahead=False)
        if monotonic() - self._expected_at > _ON_THE_WAY_SECONDS:
            self._is_late.set()

    def _note(self, lanes: Mapping[Lane, int], *, is_ahead: bool) -> None:
        with self._lock:
            for lane, jobs in lanes.items():
                self._due[lane] = self._due.get(lane, 0) + jobs
            self._is_ahead = self._is_ahead or is_ahead
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
        self._has_work.set()

    def close(self) -> None:
        """Send what is noted, and end."""
        self._is_closing.set()
        self._has_work.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._is_closing.is_set() or self._due:
            self._has_work.wait()
            self._has_work.clear()
            with self._lock:
                due, self._due = self._due, {}
                is_ahead, self._is_ahead = self._is_ahead, False
            if due:
                self._send(due)
                self._sent_at = monotonic()
                self._rest(is_ahead)

    def _rest(self, is_ahead: bool) -> None:
        if is_ahead:
            self._is_late.wait(_AHEAD_SECONDS)
        else:
            self._is_closing.wait(_COALESCE_SECONDS)
        if not self._has_work.wait(_QUIET_SECONDS) or monotonic() - self._was_quiet_at > _OVERDUE_SECONDS:
            self._when_quiet()
            self._was_quiet_at = monotonic()

    def _send(self, due: Mapping[Lane, int]) -> None:
        try:
            self._publisher.publish(plan_wakes(due, self._fleet()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the jobs are stored and the scheduler wakes them
            events.wake_failed(error)
            self._is_closing.wait(_AFTER_FAILURE_SECONDS)

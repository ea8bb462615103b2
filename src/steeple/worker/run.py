"""Runs a worker: Celery's controller and pool, the warden and the clerk beside them, slots in the pool's processes."""

import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from types import FrameType
from typing import Any

import billiard
from celery import Celery, signals
from celery.app.trace import trace_ok_t
from celery.worker import WorkController, state

from steeple.app import Steeple
from steeple.broker.celery_app import WAKE_TASK, make_celery, read_wake
from steeple.broker.wake import Publisher
from steeple.domain.priority import Binding, Priority
from steeple.domain.retry import Retry
from steeple.domain.statistics import CounterName
from steeple.errors import CutOff
from steeple.settings import Settings
from steeple.store import tasks
from steeple.store.engine import create_engine, database_url, in_transaction
from steeple.store.migrate import upgrade
from steeple.store.workers import NewWorker
from steeple.submission import new_id
from steeple.task import Task
from steeple.telemetry import events, logs
from steeple.worker.board import Board
from steeple.worker.clerk import Clerk
from steeple.worker.consumer import WakeConsumer, WakeRequest
from steeple.worker.lifelines import Lifeline, Lifelines
from steeple.worker.slot import Crew, Slot
from steeple.worker.stopping import Stopping
from steeple.worker.warden import Warden

_START_SECONDS = 60.0
"""How long a pool process may take to come up, on a machine under load."""

_FAILED_SLOT_PAUSE = 1.0


def run(
    app: Steeple,
    settings: Settings,
    *,
    slots: int,
    queues: Sequence[str] | None = None,
    priorities: Sequence[Priority] = tuple(Priority),
) -> int:
    """Work until SIGTERM or SIGINT asks to stop; a second one ends the grace for running tasks. Returns 0.

    Raises ``CutOff``, after all was brought to an end as by SIGTERM, if it could not work for too long.
    """
    logs.configure(settings, "worker")
    _quieten()
    if settings.auto_upgrade:
        upgrade(database_url(settings).render_as_string(hide_password=False))
    binding = Binding(None if queues is None else tuple(queues), tuple(priorities))
    name = f"{socket.gethostname()}:{os.getpid()}"
    crew = Crew(name, settings, Board(slots, settings.max_coroutines), binding, slots, app.tasks)
    return _Worker(app, crew).run()


class _Worker:
    """The main process."""

    def __init__(self, app: Steeple, crew: Crew) -> None:
        self._app = app
        self._crew = crew
        self._engine = create_engine(crew.settings, size=2)
        self._celery = make_celery(crew.settings, crew.binding)
        _prepare(self._celery, self._wake)
        self._slot: Slot | None = None
        signals.worker_process_init.connect(self._become_slot, weak=False)
        stopping = Stopping(crew.settings.kill_after)
        self._warden = Warden(crew.name, crew.board, crew.settings, stopping, self._stop)
        self._clerk = Clerk(self._engine, crew.board, self._row(), crew.settings, self._policy, stopping, self._warden)

    def run(self) -> int:
        in_transaction(
            self._engine, lambda connection: tasks.register(connection, [task.record for task in self._tasks()])
        )
        self._clerk.register()
        controller = _Controller(self._celery, self._crew, self._warden.lifelines, self._clerk)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        gc.collect()
        gc.freeze()  # what is there by now is shared with the slots, and the collector must not touch its pages
        self._warden.start()
        self._clerk.start()
        binding = self._crew.binding
        events.worker_started(self._crew.name, self._crew.slots, binding.queues, binding.priorities)
        controller.start()
        self._warden.close()
        self._clerk.close()
        self._engine.dispose()
        events.worker_stopped(self._crew.name)
        if self._warden.cut is not None:
            raise CutOff(str(self._warden.cut))
        return int(controller.exitcode or 0)

    def _row(self) -> NewWorker:
        crew = self._crew
        return NewWorker(new_id(), self._crew.name, version("steeple"), crew.slots, crew.binding, tuple(crew.tasks))

    def _tasks(self) -> list[Task[Any, Any]]:
        return list(self._crew.tasks.values())

    def _policy(self, task: str) -> Retry:
        found = self._crew.tasks.get(task)
        return Retry() if found is None else found.defaults.retry

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """Nothing here may block or log: it interrupts the main thread anywhere."""
        if self._crew.board.is_draining:
            self._warden.hurry()
        self._stop()

    def _stop(self) -> None:
        self._warden.drain()
        state.should_stop = 0

    def _become_slot(self, **_: object) -> None:
        """Runs in each pool process, after the fork."""
        os.setpgid(0, 0)  # the warden ends what a task started together with its slot
        try:
            self._slot = Slot(self._crew, billiard.current_process().index, Publisher(self._celery))
            self._celery.tasks[WAKE_TASK].__trace__ = self._trace
        except Exception as error:  # noqa: BLE001 - without its slot this process is of no use
            events.slot_failed(error)
            time.sleep(_FAILED_SLOT_PAUSE)
            os._exit(1)

    def _trace(self, _id: str, arguments: Any, keywords: Any, _request: Any = None) -> Any:
        """What a slot does with a wake-up, without all that Celery would do around a task of its own."""
        self._wake(*arguments, **keywords)
        return trace_ok_t(None, None, 0.0, "None")

    def _wake(self, *arguments: Any, **keywords: Any) -> None:
        """The one task that Celery knows. Which lane woke us does not matter: the claim takes the best job of all."""
        assert self._slot is not None
        # A slot stops with its worker, whoever else is told to stop. Not at its start: billiard sets its own handler
        # after that. Ignoring the signal would be inherited by what a task starts, which could not be told to end.
        signal.signal(signal.SIGTERM, _stay)
        if read_wake(arguments, keywords) is None:
            self._slot.drop("a wake-up of an unknown format")
        else:
            self._slot.work()


def _stay(number: int, frame: FrameType | None) -> None:
    """The handler of a signal that is not meant for a slot."""


def _prepare(celery: Celery, wake: Callable[..., None]) -> None:
    """Teach Celery the wake-up, and make it forget the tasks that it brings itself."""
    request = f"{WakeRequest.__module__}:{WakeRequest.__qualname__}"
    celery.task(wake, name=WAKE_TASK, typing=False, ignore_result=True, Request=request)
    celery.finalize()
    for name in list(celery.tasks):
        if name != WAKE_TASK:
            celery.tasks.unregister(name)


def _quieten() -> None:
    """A slot's death is told by the warden; Celery would add a traceback of its own, and billiard a line.

    What logging there is stays as it is: Celery would set each pool process to warnings.
    """
    signals.setup_logging.connect(_leave_logging)
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)
    billiard.util.get_logger().addHandler(logging.NullHandler())


def _leave_logging(**_: object) -> None:
    """That somebody listens is all that Celery wants to know."""


class _Controller(WorkController):  # type: ignore[misc]
    """Celery's worker without its command line: the pool and the consumer."""

    def __init__(self, celery: Celery, crew: Crew, lifelines: Lifelines, clerk: Clerk) -> None:
        self._lifelines = lifelines
        self._clerk = clerk
        celery.conf.worker_proc_alive_timeout = _START_SECONDS
        celery.conf.worker_consumer = f"{WakeConsumer.__module__}:{WakeConsumer.__qualname__}"
        super().__init__(
            app=celery,
            hostname=f"steeple@{socket.gethostname()}",
            pool_cls="prefork",
            concurrency=crew.slots,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def on_broker(self, *, is_there: bool) -> None:
        self._lifelines.note(Lifeline.BROKER, holds=is_there)

    def on_dropped(self, what: str) -> None:
        events.wake_dropped(what)
        self._clerk.count(CounterName.DROPPED_WAKE_UPS)

"""A slot without Celery around it, in this process, with an app and a database of its own."""

import asyncio
import threading
from typing import Any

import sqlalchemy

from steeple import Context, Retry, Settings, State, Steeple
from steeple.broker.celery_app import make_celery
from steeple.broker.wake import Publisher
from steeple.domain.priority import Binding
from steeple.store import workers
from steeple.store.engine import create_engine, in_transaction
from steeple.store.reads import JobView
from steeple.store.workers import NewWorker
from steeple.submission import new_id
from steeple.worker.board import Board
from steeple.worker.slot import Crew, Slot


class Bench:
    """A slot in this process, its app and its database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = create_engine(settings)
        self.app = Steeple(settings)
        self.board = Board(1, 128)
        self.ran: list[Any] = []
        self.rested = self.at_once = 0
        self.gate = threading.Event()
        self._slot: Slot | None = None
        self.app.task("note")(self.note)
        self.app.task("hold")(self.hold)
        self.app.task("rest")(self.rest)
        self.app.task("block")(self.block)
        self.app.task("exit", retry=Retry(max_attempts=1))(self.exit)
        self.app.task("give", retry=Retry(max_attempts=1))(self.give)

    def note(self, value: int = 0, context: Context | None = None) -> int:
        self.ran.append(value)
        return value

    def hold(self, seconds: float) -> str:
        """Runs until the test says so."""
        self.ran.append("hold")
        self.gate.wait(seconds)
        return "held"

    async def rest(self, value: int, seconds: float) -> int:
        self.ran.append(value)
        self.at_once = max(self.at_once, len(self.ran) - self.rested)
        await asyncio.sleep(seconds)
        self.rested += 1
        return value

    async def block(self, seconds: float) -> None:
        """Holds up the loop until the test says so."""
        self.ran.append("block")
        self.gate.wait(seconds)

    async def exit(self) -> None:
        async def leave() -> None:
            raise SystemExit(1)

        await asyncio.create_task(leave())

    def give(self, result: str) -> Any:
        return {"refused": "\u0000", "fine": 1}[result]

    @property
    def slot(self) -> Slot:
        if self._slot is None:
            worker = NewWorker(new_id(), "bench", "0", 1, Binding(), tuple(self.app.tasks))
            in_transaction(self.engine, lambda connection: workers.register(connection, worker))
            self.board.worker_id = worker.id
            crew = Crew("bench", self.settings, self.board, Binding(), 1, self.app.tasks)
            self._slot = Slot(crew, 0, Publisher(make_celery(self.settings)))
        return self._slot

    def submit(self, task: str, count: int = 1, **options: Any) -> list[Any]:
        args = [{"value": number} for number in range(count)] if task == "note" else [{"seconds": 30.0}] * count
        return self.app.submit_batch(task, args, **options)

    def read(self, handle: Any) -> JobView:
        return self.app._backend.read(handle.id)

    def states(self, handles: list[Any]) -> list[State]:
        return [self.read(handle).state for handle in handles]

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), parameters)
            return list(result) if result.returns_rows else []

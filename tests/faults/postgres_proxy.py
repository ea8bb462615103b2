"""A proxy that understands PostgreSQL's messages well enough to lose a statement, or only the server's answer to it.

The wire protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import asyncio
import random
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from proxy import Link, Proxy

_LENGTH = struct.Struct("!i")
_ENCRYPTION_REQUESTS = frozenset({80877103, 80877104})
_CANCEL_REQUEST = 80877102
_ENDS_A_ROUND = frozenset({b"S", b"Q"})
_NEVER_HELD = frozenset({b"d", b"c", b"f", b"H", b"X", b"p"})
_READY = b"Z"
_IDLE = b"I"


class Loss(Enum):
    REQUEST = "the server never gets it"
    REPLY = "the server does it, and its answer is lost"


@dataclass(frozen=True)
class Round:
    """What a client sends before it waits for an answer. ``statement``: what is executed, None if nothing is."""

    statement: str | None
    was_idle: bool
    """No transaction was open."""
    former: str = ""
    """The statement before it on the same connection."""

    @property
    def commits(self) -> bool:
        """True if the server, having answered, has committed: COMMIT itself, or a statement that is a transaction."""
        if self.statement is None:
            return False
        words = self.statement.split(None, 1)
        first = words[0].upper() if words else ""
        return first == "COMMIT" or (self.was_idle and first in {"INSERT", "UPDATE", "DELETE", "WITH"})


@dataclass
class Accident:
    """Befalls a share of the rounds that ``befalls`` names. ``log`` tells what it befell."""

    loss: Loss
    befalls: Callable[[Round], bool]
    share: float
    log: list[str] = field(default_factory=list)

    def strikes(self, each: Round, chance: random.Random) -> bool:
        if not self.befalls(each) or chance.random() >= self.share:
            return False
        self.log.append(each.statement or "")
        return True


@dataclass
class _Session:
    """Of one connection."""

    statements: dict[bytes, str] = field(default_factory=dict)
    is_idle: bool = True
    former: str = ""
    loses_next_reply: bool = False


class PostgresProxy(Proxy):
    def __init__(self, upstream: Path, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._sessions: dict[Link, _Session] = {}
        self._accident: Accident | None = None
        self._gate: _Gate | None = None
        super().__init__(upstream)

    @contextmanager
    def losing(self, loss: Loss, befalls: Callable[[Round], bool], share: float) -> Iterator[Accident]:
        """For the length of the block, lose this share of such rounds, each time together with its connection."""
        self._accident = accident = Accident(loss, befalls, share)
        try:
            yield accident
        finally:
            self._accident = None

    @contextmanager
    def holding(self, holds: Callable[[Round], bool]) -> Iterator["_Gate"]:
        """Hold the next such round back until the end of the block, or until the gate is opened."""
        self._gate = gate = _Gate(holds)
        try:
            yield gate
        finally:
            self._gate = None
            self._call(gate.open)

    async def carry_up(self, link: Link) -> None:
        self._sessions[link] = session = _Session()
        try:
            if await self._greet(link):
                await self._carry_rounds(link, session)
        finally:
            del self._sessions[link]

    async def carry_down(self, link: Link) -> None:
        """Message by message from the first, once the connection is more than a request to cancel another."""
        unsent = b""
        while True:
            kind, message = await _read_message(link.from_server)
            unsent += message
            if kind == _READY:
                session = self._sessions.get(link)
                if session is not None and session.loses_next_reply:
                    link.cut()
                    return
                if session is not None:
                    session.is_idle = message[5:] == _IDLE
            elif len(unsent) < 8192 and kind not in (b"R", b"N", b"A", b"G", b"W"):
                continue
            await self.send_down(link, unsent)
            unsent = b""

    async def _greet(self, link: Link) -> bool:
        """Pass on the startup message. False if the client only wants to cancel another's statement."""
        while True:
            length = await link.from_client.readexactly(4)
            rest = await link.from_client.readexactly(_LENGTH.unpack(length)[0] - 4)
            code = _LENGTH.unpack(rest[:4])[0]
            if code in _ENCRYPTION_REQUESTS:
                await self.send_down(link, b"N")
                continue
            await self.send_up(link, length + rest)
            return bool(code != _CANCEL_REQUEST)

    async def _carry_rounds(self, link: Link, session: _Session) -> None:
        gathered = b""
        statement: str | None = None
        while True:
            kind, message = await _read_message(link.from_client)
            gathered += message
            statement = _statement(kind, message, session) or statement
            if kind in _ENDS_A_ROUND:
                await self._send_round(link, gathered, session, Round(statement, session.is_idle, session.former))
                session.former = statement or session.former
            elif kind in _NEVER_HELD:
                await self.send_up(link, gathered)
            else:
                continue
            gathered, statement = b"", None

    async def _send_round(self, link: Link, data: bytes, session: _Session, each: Round) -> None:
        if self._gate is not None:
            await self._gate.pass_through(each)
        accident = self._accident
        if accident is not None and accident.strikes(each, self._chance):
            if accident.loss is Loss.REQUEST:
                link.cut()
                return
            session.loses_next_reply = True
        await self.send_up(link, data)


class _Gate:
    """``has_caught`` is set when a round waits at it."""

    def __init__(self, holds: Callable[[Round], bool]) -> None:
        self._holds = holds
        self._is_open = asyncio.Event()
        self.has_caught = threading.Event()

    def open(self) -> None:
        self._is_open.set()

    async def pass_through(self, each: Round) -> None:
        if not self.has_caught.is_set() and self._holds(each):
            self.has_caught.set()
            await self._is_open.wait()


def _statement(kind: bytes, message: bytes, session: _Session) -> str | None:
    """The text that a message is about to execute; a Parse is remembered for the Bind that names it."""
    body = message[5:]
    match kind:
        case b"Q":
            return body.rstrip(b"\0").decode(errors="replace")
        case b"P":
            name, text, _ = body.split(b"\0", 2)
            session.statements[name] = text.decode(errors="replace")
        case b"B":
            _, name, _ = body.split(b"\0", 2)
            return session.statements.get(name, "")
    return None


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    length = await reader.readexactly(4)
    return kind, kind + length + await reader.readexactly(_LENGTH.unpack(length)[0] - 4)

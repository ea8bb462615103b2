"""What the warden and the slots tell each other, in memory that they share: no system call, and it outlives a slot.

Each slot sits at a seat of its own, where it writes what it runs and the warden writes what it should stop. A slot that
dies leaves its seat as it was; the warden clears it when its jobs have been seen to. So a replacement takes the next
of the seats that are its own by turns. A seat has a place for the one sync task, and places for coroutines.
"""

import fcntl
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from steeple.domain.job import Claim

_HEADER = struct.Struct("=16sq")
_HEADER_BYTES = 64
_PID_AT, _USED_AT, _AT_WORK_AT, _FAILING_AT, _EXCHANGES_AT = 0, 8, 16, 24, 32
_SEAT_HEADER_BYTES = 64
_NUMBER = struct.Struct("=q")
_RUNNING = struct.Struct("=16sqdd")
_RUNNING_AT = _NUMBER.size
_STOP = struct.Struct("=q16sq")
_STOP_AT = 56
_PLACE_BYTES = 96
_NOTHING = bytes(16)
_TURNS = 4
"""Seats per slot: so many deaths in a row need not wait for the warden."""

SYNC = 0
"""The place of the task that runs in the slot's main thread."""


class Stop(IntEnum):
    """Why a running task is to stop."""

    CANCEL = 1
    TIMEOUT = 2
    SHUTDOWN = 3


class Running(NamedTuple):
    """What a slot runs. ``began`` and ``deadline`` are seconds of the machine's monotonic clock."""

    claim: Claim
    began: float
    deadline: float


class Board:
    """All seats of a worker, each with ``coroutines`` places beside the sync one. Made before the slots are forked."""

    def __init__(self, slots: int, coroutines: int = 1) -> None:
        self._slots = slots
        size = _SEAT_HEADER_BYTES + (1 + coroutines) * _PLACE_BYTES
        self._memory = mmap.mmap(-1, _HEADER_BYTES + slots * _TURNS * size)
        locks = _LockFile()
        self.seats = tuple(
            Seat(self._memory, locks, number, _HEADER_BYTES + number * size, 1 + coroutines)
            for number in range(slots * _TURNS)
        )

    @property
    def worker_id(self) -> UUID:
        """The worker's id; it changes when the worker was taken for dead and begins anew."""
        return UUID(bytes=_HEADER.unpack_from(self._memory)[0])

    @worker_id.setter
    def worker_id(self, value: UUID) -> None:
        self._memory[:16] = value.bytes

    @property
    def is_draining(self) -> bool:
        """No slot may claim any more."""
        return bool(_HEADER.unpack_from(self._memory)[1])

    def drain(self) -> None:
        _HEADER.pack_into(self._memory, 0, self._memory[:16], 1)

    def seat_for(self, index: int) -> "Seat | None":
        """A free seat for the pool's process of this index; None while the warden has yet to clear all of them."""
        return next((seat for seat in self.seats[index :: self._slots] if not seat.pid), None)


class _LockFile:
    """A nameless file, a byte of it for each seat: the lock on it is gone when the process that took it is."""

    def __init__(self) -> None:
        self.descriptor, path = tempfile.mkstemp(prefix="steeple-board-")
        os.unlink(path)
        weakref.finalize(self, os.close, self.descriptor)

    def lock(self, byte: int) -> None:
        """Raises ``OSError`` if another process holds it."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)

    def unlock(self, byte: int) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, byte)


class Seat:
    """One slot's seat. ``number`` names the slot in the database."""

    def __init__(self, memory: mmap.mmap, locks: "_LockFile", number: int, start: int, places: int) -> None:
        self._memory = memory
        self._locks = locks
        self._start = start
        self.number = number
        self.places = tuple(
            Place(memory, start + _SEAT_HEADER_BYTES + number * _PLACE_BYTES) for number in range(places)
        )

    @property
    def pid(self) -> int:
        """Of the process that sits here, dead or alive; 0 if the seat is free."""
        return self._read(_PID_AT)

    def take(self, pid: int) -> None:
        """Sit down. The kernel drops the lock when the process dies, and a child of its own does not inherit it."""
        self._locks.lock(self.number)
        self._write(_USED_AT, 1)
        self._write(_PID_AT, pid)

    @property
    def is_at_work(self) -> bool:
        """The slot may hold claims that stand at none of its places: waiting, or ended and not yet written."""
        return bool(self._read(_AT_WORK_AT))

    @is_at_work.setter
    def is_at_work(self, value: bool) -> None:
        self._write(_AT_WORK_AT, value)

    @property
    def is_failing(self) -> bool:
        """The database does not take what the slot has to write, or lets it claim nothing."""
        return bool(self._read(_FAILING_AT))

    @property
    def exchanges(self) -> int:
        """How many exchanges the slot has had with the database: each writes all that had ended before it."""
        return self._read(_EXCHANGES_AT)

    def note_exchange(self, is_done: bool) -> None:
        """One is done, or has failed for now."""
        self._write(_FAILING_AT, not is_done)
        if is_done:
            self._write(_EXCHANGES_AT, self.exchanges + 1)

    def is_deserted(self) -> bool:
        """True if whoever took the seat is dead. Only another process may ask."""
        if not self.pid:
            return False
        try:
            self._locks.lock(self.number)
        except OSError:
            return False
        self._locks.unlock(self.number)
        return True

    def clear(self) -> None:
        """Make the seat free for another slot; it is the last byte that says so."""
        begin, end = (
            self._start + _SEAT_HEADER_BYTES,
            self._start + _SEAT_HEADER_BYTES + len(self.places) * _PLACE_BYTES,
        )
        self._memory[begin:end] = bytes(end - begin)
        self._write(_AT_WORK_AT, 0)
        self._write(_FAILING_AT, 0)
        self._write(_PID_AT, 0)

    def begin(self, place: int, running: Running) -> None:
        """The slot starts a task. How many places were ever used is noted: only those need to be looked at."""
        self.places[place].begin(running)
        if place >= self._read(_USED_AT):
            self._write(_USED_AT, place + 1)

    def running(self) -> "list[tuple[Place, Running]]":
        """What the slot runs, as another process sees it."""
        if not self.pid:
            return []
        found = ((place, place.running(self.is_deserted)) for place in self.places[: self._read(_USED_AT)])
        return [(place, running) for place, running in found if running is not None]

    def _read(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._memory, self._start + at)[0])

    def _write(self, at: int, value: int) -> None:
        _NUMBER.pack_into(self._memory, self._start + at, value)


class Place:
    """Where one running task is noted, and whether it should stop."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._memory = memory
        self._start = start
        self._sequence = 0

    def begin(self, running: Running) -> None:
        claim = running.claim
        self._write(_RUNNING.pack(claim.id.bytes, claim.fence, running.began, running.deadline))

    def end(self) -> None:
        self._write(bytes(_RUNNING.size))

    def running(self, is_deserted: Callable[[], bool]) -> Running | None:
        """What stands here; read again if it changes meanwhile, unless the slot died over it, between two tasks."""
        while True:
            before = self._read_sequence()
            job_id, fence, began, deadline = _RUNNING.unpack_from(self._memory, self._start + _RUNNING_AT)
            if before % 2 == 0 and before == self._read_sequence():
                return None if job_id == _NOTHING else Running(Claim(UUID(bytes=job_id), fence), began, deadline)
            if is_deserted():
                return None

    def ask_to_stop(self, claim: Claim, stop: Stop) -> None:
        """The warden wants this claim's task to stop; a signal makes the slot look."""
        _STOP.pack_into(self._memory, self._start + _STOP_AT, stop, claim.id.bytes, claim.fence)

    def asked_to_stop(self, claim: Claim) -> Stop | None:
        """Why this claim's task should stop, if it should."""
        stop, job_id, fence = _STOP.unpack_from(self._memory, self._start + _STOP_AT)
        return Stop(stop) if stop and job_id == claim.id.bytes and fence == claim.fence else None

    def _write(self, running: bytes) -> None:
        """An odd number says that a change is under way (a seqlock)."""
        self._sequence += 1
        _NUMBER.pack_into(self._memory, self._start, self._sequence)
        at = self._start + _RUNNING_AT
        self._memory[at : at + _RUNNING.size] = running
        self._sequence += 1
        _NUMBER.pack_into(self._memory, self._start, self._sequence)

    def _read_sequence(self) -> int:
        return int(_NUMBER.unpack_from(self._memory, self._start)[0])

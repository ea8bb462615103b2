"""Runs the HTTP API: what has to be in order before it listens, then the server."""

import gc
import socket

from steeple.api.app import create_app
from steeple.api.server import Server
from steeple.app import Steeple
from steeple.errors import ConfigurationError
from steeple.settings import Settings, is_loopback
from steeple.store import keys, migrate
from steeple.store.engine import create_engine, database_url, in_transaction
from steeple.store.keys import KeyCensus
from steeple.telemetry import events, logs

_BACKLOG = 2048
_BOOTSTRAP_NAME = "bootstrap"


def serve(app: Steeple | None, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ``ConfigurationError``, ``DatabaseError``."""
    logs.configure(settings, "api")
    census = prepare(app, settings)
    sockets = listen(settings.host, settings.port)
    url = _url(settings.host, sockets[0])
    if not census.ever:
        events.api_is_open(url)
    events.api_started(url)
    api = create_app(app, settings)
    # What is there by now stays: the garbage collector need not go through it again and again.
    gc.collect()
    gc.freeze()
    Server(api, api.state.services).run(sockets)
    events.api_stopped()


def prepare(app: Steeple | None, settings: Settings) -> KeyCensus:
    """Bring the database up to what the API needs. Raises ``ConfigurationError`` if the host may not be listened on."""
    if settings.auto_upgrade:
        migrate.upgrade(database_url(settings).render_as_string(hide_password=False))
    engine = create_engine(settings, size=1)
    try:
        if settings.bootstrap_api_key is not None:
            key = _usable(settings.bootstrap_api_key.get_secret_value())
            in_transaction(engine, lambda connection: keys.adopt_key(connection, key, _BOOTSTRAP_NAME))
        census = in_transaction(engine, keys.census)
        _require_key(settings.host, census)
        if app is not None:
            in_transaction(engine, app.announce)
        return census
    finally:
        engine.dispose()


def _usable(key: str) -> str:
    if key.isascii() and key.isprintable() and " " not in key and 20 <= len(key) <= 512:
        return key
    raise ConfigurationError("STEEPLE_BOOTSTRAP_API_KEY must be 20 to 512 printable ASCII characters without spaces")


def _require_key(host: str, census: KeyCensus) -> None:
    if not is_loopback(host) and not census.now:
        raise ConfigurationError(
            f"refuses to listen on {host} without an API key: anyone who reaches it could run tasks. Make a key with "
            "`steeple keys create NAME --scope admin`, set STEEPLE_BOOTSTRAP_API_KEY_FILE, or listen on 127.0.0.1"
        )


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of ``host``; with port 0 on the first only. Raises ``ConfigurationError``."""
    found: list[socket.socket] = []
    fault: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host!r}: {error.strerror}") from error
    for family, _, _, _, address in dict.fromkeys(addresses):
        try:
            found.append(_bound(family, address))
        except OSError as error:
            fault = error
        if found and port == 0:
            break
    if not found:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {fault and fault.strerror}") from fault
    return found


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

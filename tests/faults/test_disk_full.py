"""PostgreSQL on a small disk that fills up: what was accepted stays, and all goes on when there is room again."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from fleet import Fleet, Servers, Shape, servers_in
from recorder import Recorder
from stage import Stage

from servers import libpq_url

_SIZE = "160m"
_MEGABYTE = 1 << 20

_GROW = """
CREATE TABLE IF NOT EXISTS growth (text text);
INSERT INTO growth SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30000);
"""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(os.geteuid() != 0, reason="test_disk_full: a disk of its own, to be filled, takes root"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"test_disk_full: no tmpfs can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small(disk: Path, tmp_path: Path) -> Iterator[Stage]:
    with servers_in(disk) as servers:
        recorder = Recorder(servers.postgres.url())
        recorder.install()
        fleet = Fleet(tmp_path, servers, Shape(workers=1))
        fleet.start()
        try:
            yield Stage(fleet, servers, recorder, tmp_path / "effects")
        finally:
            fleet.close()


def test_disk_full(small: Stage, disk: Path) -> None:
    with small.load() as crowd, small.trouble():
        small.journal.server_crashed()  # as it does when it cannot write its log
        with full(disk):
            assert grows_until_it_cannot(small.servers)
            small.sleep(3)
        small.servers.heal()
        small.servers.query("DROP TABLE IF EXISTS growth")
        small.progress(crowd)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte is left on the disk."""
    ballast = disk / "ballast"
    _fill(ballast)
    try:
        yield
    finally:
        ballast.unlink()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(_MEGABYTE))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


def grows_until_it_cannot(servers: Servers) -> bool:
    """Write to the database until it has no room, in its tables or in its log. False if it never said so."""
    try:
        with psycopg.connect(libpq_url(servers.postgres.url()), autocommit=True) as connection:
            for _ in range(300):
                connection.execute(_GROW)
    except (psycopg.errors.DiskFull, psycopg.OperationalError):
        return True
    return False

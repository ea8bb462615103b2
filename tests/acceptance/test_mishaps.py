"""What was accepted is finished, whatever is killed, stopped or emptied on the way."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import redis
from running_up import Installation

from steeple.embedded.directories import socket_directory
from steeple.embedded.processes import wait_until

Up = Callable[..., Installation]


def _noted(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text().splitlines()} if path.exists() else set()


def test_killing_everything_loses_nothing_that_was_accepted(up: Up, tmp_path: Path) -> None:
    path, slow = tmp_path / "notes", tmp_path / "slow"
    first = up()
    running = [first.submit("slow_note", {"path": str(slow), "text": str(number), "seconds": 2}) for number in range(2)]
    waiting = first.submit_batch("note", [{"path": str(path), "text": str(number)} for number in range(300)])
    scheduled = first.submit("note", {"path": str(path), "text": "scheduled"}, delay=2)
    assert wait_until(lambda: slow.exists() and slow.read_text().count("began") == 2, 20)

    first.kill_everything()

    second = up()
    for job in [*running, scheduled]:
        assert second.ended(job["id"])["state"] == "SUCCESS", second.said
    assert second.succeeded(waiting)
    assert _noted(path) == {*map(str, range(300)), "scheduled"}
    # A claim of the last moment may be lost with the database: to it, that job had not begun.
    assert {second.job(job["id"])["crashes"] for job in running} <= {0, 1}


def test_a_killed_worker_is_replaced_and_its_jobs_run_again(up: Up, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    installation = up()
    job = installation.submit("slow_note", {"path": str(slow), "text": "x", "seconds": 1.5})
    assert wait_until(lambda: slow.exists(), 20)

    os.kill(installation.find("steeple worker"), signal.SIGKILL)

    ended = installation.ended(job["id"])
    assert (ended["state"], ended["crashes"], ended["attempt"]) == ("SUCCESS", 1, 2)
    (crash, success) = installation.api.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
    assert (crash["error"]["reason"], success["state"]) == ("crash", "SUCCESS")


def test_without_the_broker_jobs_are_accepted_and_run_after_its_return(up: Up, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    installation = up()
    os.kill(installation.find("valkey-server"), signal.SIGSTOP)
    frozen = [installation.submit("note", {"path": str(path), "text": f"frozen{number}"}) for number in range(3)]
    os.kill(installation.find("valkey-server"), signal.SIGKILL)
    gone = [installation.submit("note", {"path": str(path), "text": f"gone{number}"}) for number in range(3)]
    assert installation.api.get("/readyz").status_code == 200
    for job in frozen + gone:
        assert installation.ended(job["id"])["state"] == "SUCCESS", installation.said


def test_an_emptied_broker_loses_nothing(up: Up, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    installation = up()
    socket = socket_directory(installation.data_dir / "valkey") / "valkey.sock"
    with redis.Redis(unix_socket_path=str(socket)) as client:
        ids = []
        for number in range(20):
            ids += installation.submit_batch("note", [{"path": str(path), "text": f"{number}.{n}"} for n in range(20)])
            client.flushall()
    assert installation.succeeded(ids)
    assert len(path.read_text().splitlines()) == 400


def test_jobs_flow_again_after_the_database_was_restarted(up: Up, tmp_path: Path) -> None:
    path, slow = tmp_path / "notes", tmp_path / "slow"
    installation = up()
    running = installation.submit("slow_note", {"path": str(slow), "text": "x", "seconds": 3})
    ids = installation.submit_batch("note", [{"path": str(path), "text": str(number)} for number in range(200)])
    assert wait_until(lambda: slow.exists(), 20)

    os.kill(installation.find("/postgres -D"), signal.SIGQUIT)  # as `pg_ctl stop -m immediate`

    assert wait_until(lambda: installation.api.get("/readyz").status_code == 200, 30)
    assert installation.ended(running["id"])["state"] == "SUCCESS", installation.said
    assert installation.succeeded(ids)
    assert _noted(path) == set(map(str, range(200)))

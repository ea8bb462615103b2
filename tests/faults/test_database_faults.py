"""What befalls PostgreSQL: crashes, cut connections, no room, long transactions, deadlocks. Each under load."""

import os
import signal

from stage import Stage

from steeple.embedded.processes import wait_until

PATIENCE = 30.0

_TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'steeple' AND pid <> pg_backend_pid()
"""


def test_restarted_as_by_immediate_shutdown(stage: Stage) -> None:
    postgres = stage.servers.postgres
    with stage.load() as crowd:
        job_id = stage.held()
        for _ in range(3):
            with stage.trouble():
                stage.journal.server_crashed()
                os.kill(postgres.pid, signal.SIGQUIT)
                assert wait_until(lambda: postgres.exit_status() is not None, PATIENCE)
                postgres.start()
                stage.progress(crowd)
        stage.let_go()
        job = stage.wait_ended(job_id)
    assert job["state"] == "SUCCESS"


def test_every_backend_terminated_again_and_again(stage: Stage) -> None:
    with stage.load() as crowd, stage.trouble():
        for _ in range(10):
            stage.value(_TERMINATE)
            stage.progress(crowd, 5)

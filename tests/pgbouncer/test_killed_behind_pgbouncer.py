"""The rows of killed parts that matter to a pooler: whoever dies leaves it a transaction half done."""

import pytest
from stage import Stage

PATIENCE = 60.0


def test_worker_killed_and_its_job_rescued(stage: Stage) -> None:
    with stage.load():
        job_id = stage.held()
        with stage.trouble():
            stage.worker_of(job_id).kill()
            stage.let_go()
            job = stage.wait_ended(job_id)
    assert (job["state"], job["crashes"], job["attempt"]) == ("SUCCESS", 1, 2)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["apis", "schedulers", "workers"])
def test_part_killed(stage: Stage, kind: str) -> None:
    with stage.load() as crowd:
        with stage.trouble():
            getattr(stage.fleet, kind)[0].kill()
            stage.fleet.start()
        stage.progress(crowd)

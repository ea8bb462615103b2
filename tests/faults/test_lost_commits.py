"""COMMITs whose answers are lost, and COMMITs that are lost, of every part at once."""

import pytest
from postgres_proxy import Loss
from stage import Stage

_KINDS = ("INSERT INTO jobs", "finished AS (", "COMMIT")


@pytest.mark.parametrize("loss", list(Loss), ids=["commit lost", "reply lost"])
def test_commit(stage: Stage, loss: Loss) -> None:
    line = stage.servers.database_line
    with stage.load() as crowd:
        with stage.trouble(), line.losing(loss, lambda each: each.commits, share=0.1) as accident:
            stage.progress(crowd, 120)
        for kind in _KINDS:
            assert any(kind in statement for statement in accident.log), kind

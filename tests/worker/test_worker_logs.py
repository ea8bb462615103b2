"""What slots say: as much as the settings ask for, whatever Celery sets up in its pool."""

from collections.abc import Callable

from watching import Watcher, WorkerProcess

from steeple import State
from steeple.embedded.processes import wait_until

Start = Callable[..., WorkerProcess]


def test_slots_log_at_the_level_that_is_set(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1", STEEPLE_LOG_LEVEL="DEBUG", STEEPLE_LOG_FORMAT="json")
    assert watch.ended(watch.submit("echo", {"value": 1})).state is State.SUCCESS
    assert wait_until(lambda: '"slot_started"' in worker.said and '"attempt_ended"' in worker.said, 30), worker.said

"""The metrics as Prometheus reads them."""

from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from steeple.domain.histogram import BOUNDS, in_bucket
from steeple.domain.states import State
from steeple.domain.statistics import CounterName, FinishedTotal, JobCount, MetricsSnapshot, QueueStatistics
from steeple.telemetry.metrics import CONTENT_TYPE, render

COUNTS = {State.PENDING: 4, State.RUNNING: 1, State.SUCCESS: 9, State.FAILED: 2, State.CANCELLED: 0}

SNAPSHOT = MetricsSnapshot(
    queues=(QueueStatistics("q", COUNTS, 12.5, 0.5), QueueStatistics("idle", dict.fromkeys(State, 0), None, 0.0)),
    tasks=(JobCount("q", "t", State.SUCCESS, 9), JobCount("q", 'odd"\n\\', State.FAILED, 2)),
    finished=(
        FinishedTotal("q", "t", State.SUCCESS, 10, in_bucket(2, 10, 0.9), in_bucket(0, 10, 0.01)),
        FinishedTotal("q", "t", State.FAILED, 3, in_bucket(4, 2, 3.5), in_bucket(0, 2, 0.02)),
    ),
    workers=2,
    slots=8,
    counters={name: place for place, name in enumerate(CounterName)},
)


def samples(snapshot: MetricsSnapshot = SNAPSHOT) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(render(snapshot).decode()):
        for sample in family.samples:
            labels: dict[str, Any] = sample.labels
            found[sample.name, *(f"{name}={value}" for name, value in sorted(labels.items()))] = sample.value
    return found


def test_jobs_are_shown_per_queue_and_state_zeros_too() -> None:
    found = samples()
    assert found["steeple_jobs", "queue=q", "state=PENDING"] == 4
    assert found["steeple_jobs", "queue=idle", "state=FAILED"] == 0
    assert found["steeple_task_jobs", "queue=q", "state=SUCCESS", "task=t"] == 9


def test_a_queue_without_due_jobs_waits_for_nothing() -> None:
    found = samples()
    assert found["steeple_oldest_wait_seconds", "queue=q"] == 12.5
    assert found["steeple_oldest_wait_seconds", "queue=idle"] == 0


def test_a_paused_queue_is_told_by_a_one() -> None:
    queues = (QueueStatistics("q", COUNTS, None, 0.0, paused=True), QueueStatistics("r", COUNTS, None, 0.0))
    found = samples(replace(SNAPSHOT, queues=queues))
    assert [found["steeple_queue_paused", f"queue={name}"] for name in "qr"] == [1, 0]


def test_names_are_escaped() -> None:
    assert samples()["steeple_task_jobs", "queue=q", "state=FAILED", 'task=odd"\n\\'] == 2


def test_finished_jobs_are_counters_per_state() -> None:
    found = samples()
    assert found["steeple_jobs_finished_total", "queue=q", "state=SUCCESS", "task=t"] == 10
    assert found["steeple_jobs_finished_total", "queue=q", "state=FAILED", "task=t"] == 3


def test_durations_are_histograms_over_all_states() -> None:
    found = samples()
    name, labels = "steeple_job_run_seconds", ("queue=q", "task=t")
    assert found[f"{name}_count", *labels] == 12
    assert found[f"{name}_sum", *labels] == 4.4
    buckets = [found[f"{name}_bucket", f"le={bound}", *labels] for bound in (*BOUNDS, "+Inf")]
    assert buckets == [0, 0, 10, 10] + [12] * (len(BOUNDS) - 3)
    assert found["steeple_job_wait_seconds_count", *labels] == 12


def test_rare_events_are_counters() -> None:
    found = samples()
    names = ("stale_finishes", "rescued_jobs", "crashed_jobs", "dropped_wake_ups", "expired_jobs", "pruned_jobs")
    assert [found[f"steeple_{name}_total",] for name in names] == [0, 1, 2, 3, 4, 5]


def test_the_fleet_is_shown() -> None:
    found = samples()
    assert (found["steeple_workers",], found["steeple_slots",]) == (2, 8)


def test_rendering_twice_gives_the_same() -> None:
    assert render(SNAPSHOT) == render(SNAPSHOT)
    assert CONTENT_TYPE.startswith("text/plain")


def test_an_empty_system_has_metrics_too() -> None:
    found = samples(MetricsSnapshot((), (), (), 0, 0, {}))
    assert found["steeple_workers",] == 0
    assert found["steeple_stale_finishes_total",] == 0

"""What was counted, in the text format that Prometheus reads."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from steeple.domain.histogram import BOUNDS, Histogram
from steeple.domain.statistics import CounterName, FinishedTotal, MetricsSnapshot

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_COUNTERS: Final = {
    CounterName.STALE_FINISHES: ("steeple_stale_finishes", "Outcomes dropped: their job had been taken away."),
    CounterName.RESCUES: ("steeple_rescued_jobs", "Jobs taken from workers that went silent."),
    CounterName.CRASHES: ("steeple_crashed_jobs", "Jobs whose slot died under them."),
    CounterName.DROPPED_WAKE_UPS: ("steeple_dropped_wake_ups", "Messages from the broker that were not understood."),
    CounterName.EXPIRED: ("steeple_expired_jobs", "Jobs that had not started by their expires_at."),
    CounterName.PRUNED: ("steeple_pruned_jobs", "Finished jobs deleted after their retention."),
    CounterName.FAILED_FIRES: ("steeple_failed_fires", "Fires of schedules that could make no job."),
    CounterName.MISSED_FIRES: ("steeple_missed_fires", "How often fires of a schedule were missed and not made up."),
}


def render(snapshot: MetricsSnapshot) -> bytes:
    """The snapshot as text. Nothing is kept between calls, so any number of processes may serve it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: the registry is made for one rendering."""
        return ()

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield from _jobs(snapshot)
        yield _finished(snapshot)
        yield _durations("steeple_job_run_seconds", "How long the last attempt ran.", snapshot, lambda total: total.run)
        yield _durations(
            "steeple_job_wait_seconds", "From when a job was due to its start.", snapshot, lambda total: total.wait
        )
        yield GaugeMetricFamily("steeple_workers", "Workers that are alive.", value=snapshot.workers)
        yield GaugeMetricFamily("steeple_slots", "Slots of the workers that are alive.", value=snapshot.slots)
        for counted, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(name, text, value=snapshot.counters.get(counted, 0))


def _jobs(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    queues = GaugeMetricFamily(
        "steeple_jobs", "Jobs in each queue and state; finished ones until pruned.", labels=["queue", "state"]
    )
    waits = GaugeMetricFamily(
        "steeple_oldest_wait_seconds", "How long the oldest due job of a queue is overdue.", labels=["queue"]
    )
    pauses = GaugeMetricFamily("steeple_queue_paused", "1 if the queue is paused.", labels=["queue"])
    for queue in snapshot.queues:
        pauses.add_metric([queue.name], queue.paused)
        waits.add_metric([queue.name], queue.oldest_wait or 0.0)
        for state, jobs in queue.counts.items():
            queues.add_metric([queue.name, state.value], jobs)
    tasks = GaugeMetricFamily(
        "steeple_task_jobs",
        "Jobs of each task; without the pending ones while there are very many.",
        labels=["queue", "task", "state"],
    )
    for count in snapshot.tasks:
        tasks.add_metric([count.queue, count.task, count.state.value], count.jobs)
    yield from (queues, waits, pauses, tasks)


def _finished(snapshot: MetricsSnapshot) -> Metric:
    family = CounterMetricFamily(
        "steeple_jobs_finished", "Jobs that ended, since the beginning.", labels=["queue", "task", "state"]
    )
    for total in snapshot.finished:
        family.add_metric([total.queue, total.task, total.state.value], total.jobs)
    return family


def _durations(name: str, text: str, snapshot: MetricsSnapshot, chosen: Callable[[FinishedTotal], Histogram]) -> Metric:
    sums: dict[tuple[str, str], Histogram] = {}
    for total in snapshot.finished:
        key = (total.queue, total.task)
        sums[key] = sums.get(key, Histogram()) + chosen(total)
    family = HistogramMetricFamily(name, text, labels=["queue", "task"])
    for labels, histogram in sums.items():
        bounds = (*(str(bound) for bound in BOUNDS), "+Inf")
        buckets = list(zip(bounds, histogram.running_totals(), strict=True))
        family.add_metric(labels, buckets, histogram.seconds)
    return family

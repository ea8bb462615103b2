"""The rows of the table, one module for each kind; ROWS is their order."""

from bench.row import Row
from bench.rows import (
    batch,
    distant,
    flows,
    full,
    held,
    history,
    idle,
    latency,
    memory,
    mix,
    noop,
    operations,
    posting,
    punctual,
    schedules,
    shapes,
    tasks,
    waiting,
)

ROWS: tuple[Row, ...] = (
    noop.ROW,
    *tasks.rows(),
    mix.ROW,
    waiting.ROW,
    latency.ROW,
    posting.ROW,
    batch.ROW,
    flows.ROW,
    full.ROW,
    held.ROW,
    distant.ROW,
    shapes.ROW,
    punctual.ROW,
    schedules.ROW,
    idle.ROW,
    memory.ROW,
    history.ROW,
    operations.ROW,
)

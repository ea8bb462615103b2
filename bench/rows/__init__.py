"""The rows of the table, one module for each kind; ROWS is their order."""

from bench.row import Row
from bench.rows import (
    batch,
    distant,
    full,
    held,
    history,
    idle,
    latency,
    limits,
    memory,
    mix,
    noop,
    posting,
    punctual,
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
    full.ROW,
    held.ROW,
    limits.ROW,
    distant.ROW,
    shapes.ROW,
    punctual.ROW,
    idle.ROW,
    memory.ROW,
    history.ROW,
)

"""The rows of the table, one module for each kind; ROWS is their order."""

from bench.row import Row
from bench.rows import latency, mix, noop, posting, tasks, waiting

ROWS: tuple[Row, ...] = (noop.ROW, *tasks.rows(), mix.ROW, waiting.ROW, latency.ROW, posting.ROW)

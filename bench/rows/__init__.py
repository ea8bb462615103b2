"""The rows of the table, one module for each kind; ROWS is their order."""

from bench.row import Row
from bench.rows import noop

ROWS: tuple[Row, ...] = (noop.ROW,)

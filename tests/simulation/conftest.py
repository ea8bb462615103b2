"""A database in which time is simulated."""

from worlds import worlds

__all__ = ["worlds"]

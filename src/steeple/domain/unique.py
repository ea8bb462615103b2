"""What becomes of a new job whose unique key another one holds, and in which states a job holds its own. Pure."""

from enum import StrEnum


class OnConflict(StrEnum):
    """What a submitter wants if its job's key is held."""

    REJECT = "reject"
    """Refuse the new job."""

    EXISTING = "existing"
    """Make no new job: the one that holds the key is the answer."""

    REPLACE = "replace"
    """Have the holder, if it is pending, become what the new job would be. It keeps its id."""

    DEBOUNCE = "debounce"
    """Have the holder, if it is pending, wait until the new job would be due. It is never brought forward."""


TAKES_OVER = frozenset({OnConflict.REPLACE, OnConflict.DEBOUNCE})
"""What changes the holder, which must be pending for it."""

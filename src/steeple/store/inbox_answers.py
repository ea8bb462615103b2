"""What a submitter is told of a new job."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from steeple.domain.unique import OnConflict
from steeple.errors import IdempotencyKeyReused, InvalidJob, UniqueKeyHeld


@dataclass(frozen=True)
class Accepted:
    """The job that a submit came to; ``is_replay`` if an earlier request with the same idempotency key made it.

    ``way``: how the submit came to a job that held its unique key; None if it made the job. ``replaced_at``: when it
    made that job into its own.
    """

    id: UUID
    run_at: datetime
    created_at: datetime
    is_replay: bool = False
    way: OnConflict | None = None
    replaced_at: datetime | None = None

    @property
    def is_new(self) -> bool:
        """True if the submit made the job, by this very request."""
        return not self.is_replay and self.way is None

    @property
    def has_become_due(self) -> bool:
        """True if a worker should be woken for it."""
        if self.is_replay or self.way in (OnConflict.EXISTING, OnConflict.DEBOUNCE):
            return False
        return self.run_at <= (self.replaced_at or self.created_at)


Answer = Accepted | UniqueKeyHeld | IdempotencyKeyReused | InvalidJob

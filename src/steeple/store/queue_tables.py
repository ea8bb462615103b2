"""The tables of queues, and of requests that came to other jobs; a part of ``tables``."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from steeple.store.declarative import Table


class Queue(Table):
    """What was set for a queue; without a row, nothing was. ``retention`` is in seconds, null is what the settings say.

    ``default_priority`` is for jobs of which neither submitter nor task names one.
    """

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_note: Mapped[str | None]
    default_priority: Mapped[int | None] = mapped_column(SmallInteger)
    retention: Mapped[float | None]

    __table_args__ = (
        CheckConstraint("default_priority BETWEEN 0 AND 2", name="default_priority"),
        CheckConstraint("retention >= 0", name="retention"),
    )


class JoinedRequest(Table):
    """An idempotency key of a request that made no job: it came in some ``way`` to the holder of its unique key."""

    __tablename__ = "joined_requests"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    job_id: Mapped[UUID]
    way: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("joined_requests_at", "at"),)

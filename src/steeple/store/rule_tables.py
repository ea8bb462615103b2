"""The tables of queues' settings, limits and fair keys; a part of ``tables``."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from steeple.store.declarative import Table


class Queue(Table):
    """What was set for a queue; without a row, nothing was. ``retention`` is in seconds, null is what the settings say.

    ``default_priority`` is for jobs of which neither submitter nor task names one. ``max_running`` and the rate are
    those of a limit that all of its jobs have.
    """

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_note: Mapped[str | None]
    default_priority: Mapped[int | None] = mapped_column(SmallInteger)
    retention: Mapped[float | None]
    max_running: Mapped[int | None]
    rate_count: Mapped[int | None]
    rate_period: Mapped[float | None]
    rate_burst: Mapped[int | None]

    __table_args__ = (
        CheckConstraint("default_priority BETWEEN 0 AND 2", name="default_priority"),
        CheckConstraint("retention >= 0", name="retention"),
    )


class Limit(Table):
    """How many jobs that name a key may run at once, and start in a time; ``*`` in a key makes it a pattern."""

    __tablename__ = "limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    max_running: Mapped[int | None]
    rate_count: Mapped[int | None]
    rate_period: Mapped[float | None]
    rate_burst: Mapped[int | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("limits_patterns", "key", postgresql_where=text("key LIKE '%*%'")),)


class LimitTokens(Table):
    """What was left of a key's rate when a job last took of it."""

    __tablename__ = "limit_tokens"

    key: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float]
    at: Mapped[datetime]


class Weight(Table):
    """The share of a fair key; 1 for those that are not here."""

    __tablename__ = "weights"

    fair_key: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float]


class Share(Table):
    """The virtual time at which a fair key's next job starts in a lane."""

    __tablename__ = "shares"

    queue: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    fair_key: Mapped[str] = mapped_column(primary_key=True)
    virtual: Mapped[float]


class ShareClock(Table):
    """The virtual time of a lane: that of the last job of a fair key to start in it."""

    __tablename__ = "share_clocks"

    queue: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    clock: Mapped[float]

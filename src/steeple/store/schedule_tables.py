"""The tables of schedules; a part of ``tables``."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from steeple.store.declarative import Table


class Schedule(Table):
    """A rule for when to make a job of what. ``version`` counts the changes that people make; ``next_time`` is the
    earliest fire that has not been looked at, due at ``next_due``; both null: there will be none."""

    __tablename__ = "schedules"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    task: Mapped[str]
    args: Mapped[dict[str, Any]]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    cron: Mapped[str | None]
    every: Mapped[float | None]
    times: Mapped[list[datetime] | None]
    timezone: Mapped[str]
    anchor: Mapped[datetime]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    jitter: Mapped[float]
    overlap: Mapped[str]
    catch_up: Mapped[str]
    catch_up_window: Mapped[float]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    pause_note: Mapped[str | None]
    next_time: Mapped[datetime | None]
    next_due: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("num_nonnulls(cron, every, times) = 1", name="rule"),
        Index("schedules_name", "name", unique=True),
        Index("schedules_due", "next_due", postgresql_where=text("NOT paused AND next_due IS NOT NULL")),
    )


class Backfill(Table):
    """A past range of a schedule to be made up. Its fires are there from the beginning, and wait; once none does,
    ``finished_at`` is set."""

    __tablename__ = "backfills"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    max_running: Mapped[int]
    total: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("backfills_of_schedule", "schedule_id", "id"),
        Index("backfills_open", "id", postgresql_where=text("finished_at IS NULL")),
    )


class Fire(Table):
    """One time of a schedule, and what became of it. The job that it made may have been pruned since."""

    __tablename__ = "fires"

    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True)
    time: Mapped[datetime] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    why: Mapped[str | None]
    job_id: Mapped[UUID | None]
    backfill_id: Mapped[UUID | None] = mapped_column(ForeignKey("backfills.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("fires_at", "at"),
        Index("fires_of_backfill", "backfill_id", "outcome", "time", postgresql_where=text("backfill_id IS NOT NULL")),
        Index("fires_of_job", "job_id", unique=True, postgresql_where=text("job_id IS NOT NULL")),
        Index(
            "fires_waiting",
            "schedule_id",
            "time",
            postgresql_where=text("outcome = 'queued' AND backfill_id IS NULL"),
        ),
    )

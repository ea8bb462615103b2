"""The tables of jobs that wait for others; a part of ``tables``."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from steeple.domain.states import State
from steeple.store.declarative import Table, job_state


class JobParent(Table):
    """A job waits for another, or did: ``ended_as`` is how that ended. Rows go with the child."""

    __tablename__ = "job_parents"

    child_id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[UUID] = mapped_column(primary_key=True)
    ended_as: Mapped[State | None] = mapped_column(job_state)

    __table_args__ = (
        Index(
            "job_parents_to_end",
            "parent_id",
            "child_id",
            postgresql_where=text("ended_as IS NULL AND parent_id IS NOT NULL"),
        ),
        Index(
            "job_parents_awaited",
            "child_id",
            "parent_id",
            postgresql_where=text("ended_as IS NULL AND child_id IS NOT NULL"),
        ),
    )


class Flow(Table):
    """Jobs that were submitted as one are known by their ``flow_id``; here is what they are called together."""

    __tablename__ = "flows"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

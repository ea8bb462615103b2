"""The table of operations; a part of ``tables``."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from steeple.store.declarative import Table


class Operation(Table):
    """One action on every job that matches ``filter``, done batch by batch. ``before``: the id down to which it has
    come; ``total`` null: too many to be counted at once. ``skips`` says why jobs were left as they were.
    """

    __tablename__ = "operations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    action: Mapped[str]
    filter: Mapped[dict[str, Any]]
    changes: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(server_default="PENDING")
    done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    skipped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    total: Mapped[int | None] = mapped_column(BigInteger)
    skips: Mapped[dict[str, Any] | None]
    before: Mapped[UUID | None]
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    idempotency_owner: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'RUNNING', 'DONE', 'ABORTED')", name="state"),
        Index("operations_active", "next_at", postgresql_where=text("state IN ('PENDING', 'RUNNING')")),
        Index(
            "operations_idempotency_key",
            "idempotency_owner",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": "50"}},
    )

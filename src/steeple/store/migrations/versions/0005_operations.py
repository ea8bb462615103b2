"""Keep operations: one action on every job that matches a filter, done batch by batch."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("filter", postgresql.JSON(), nullable=False),
        sa.Column("changes", postgresql.JSON()),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger()),
        sa.Column("skips", postgresql.JSON()),
        sa.Column("before", sa.Uuid()),
        sa.Column("next_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", instant),
        sa.Column("finished_at", instant),
        sa.Column("idempotency_owner", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_hash", sa.LargeBinary()),
        sa.CheckConstraint("state IN ('PENDING', 'RUNNING', 'DONE', 'ABORTED')", name=op.f("operations_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("operations_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "operations_active", "operations", ["next_at"], postgresql_where=sa.text("state IN ('PENDING', 'RUNNING')")
    )
    op.create_index(
        "operations_idempotency_key",
        "operations",
        ["idempotency_owner", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("operations")

"""Note on jobs and attempts how a task was stopped, and on workers what they are cut off from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stop", postgresql.JSON()))
    op.add_column("attempts", sa.Column("stop", postgresql.JSON()))
    op.add_column("workers", sa.Column("trouble", sa.Text()))


def downgrade() -> None:
    op.drop_column("workers", "trouble")
    op.drop_column("attempts", "stop")
    op.drop_column("jobs", "stop")

"""Index jobs by state, queue and task, each with its newest jobs side by side, and those that have tags."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, condition in (
        ("jobs_of_a_kind", "state <> 'RUNNING'"),
        ("jobs_of_a_kind_tagged", "state <> 'RUNNING' AND tags <> '{}'"),
    ):
        op.create_index(name, "jobs", ["state", "queue", "task", "id"], postgresql_where=sa.text(condition))
    op.create_index("jobs_tagged", "jobs", ["id"], postgresql_where=sa.text("cardinality(tags) > 0"))
    op.drop_index("jobs_unsuccessful", "jobs")


def downgrade() -> None:
    op.create_index(
        "jobs_unsuccessful", "jobs", ["state", "id"], postgresql_where=sa.text("state IN ('FAILED', 'CANCELLED')")
    )
    op.drop_index("jobs_tagged", "jobs")
    op.drop_index("jobs_of_a_kind_tagged", "jobs")
    op.drop_index("jobs_of_a_kind", "jobs")

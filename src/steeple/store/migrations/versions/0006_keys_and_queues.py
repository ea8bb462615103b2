"""Unique keys that are held in states and for a time of each job's own choice; queues with settings of their own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

job_state = postgresql.ENUM("PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED", name="job_state", create_type=False)
instant = sa.DateTime(timezone=True)

_HELD_WHILE_ACTIVE = "unique_key IS NOT NULL AND state IN ('PENDING', 'RUNNING')"
_HELD_BY_CHOICE = (
    "unique_key IS NOT NULL AND unique_released_at IS NULL"
    " AND state = ANY (COALESCE(unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))"
)

# A job that does not hold its unique key while it runs lets go of it when it is claimed, by whatever statement of
# whatever version, and for good: were it to come back to PENDING with the key, another might have that by then, and the
# finish or the rescue of a whole batch would fail. Of jobs without such a choice only the condition is looked at.
_LET_GO_OF_KEY = """
CREATE FUNCTION steeple_let_go_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET unique_released_at = now() WHERE id = NEW.id;
    RETURN NULL;
END
$$
"""
_WHEN_CLAIMED = """
CREATE TRIGGER jobs_let_go_of_key AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.unique_states IS NOT NULL AND NEW.state = 'RUNNING' AND NEW.unique_released_at IS NULL
      AND 'RUNNING' <> ALL (NEW.unique_states))
EXECUTE FUNCTION steeple_let_go_of_key()
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("unique_states", sa.ARRAY(job_state)))
    op.add_column("jobs", sa.Column("unique_until", instant))
    op.add_column("jobs", sa.Column("unique_released_at", instant))
    _index_keys(_HELD_BY_CHOICE)
    op.execute(_LET_GO_OF_KEY)
    op.execute(_WHEN_CLAIMED)
    op.add_column("tasks", sa.Column("names_priority", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    _create_joined_requests()
    _create_queues()


def downgrade() -> None:
    op.drop_table("queues")
    op.drop_table("joined_requests")
    op.drop_column("tasks", "names_priority")
    op.execute("DROP TRIGGER jobs_let_go_of_key ON jobs")
    op.execute("DROP FUNCTION steeple_let_go_of_key")
    _index_keys(_HELD_WHILE_ACTIVE)
    for column in ("unique_released_at", "unique_until", "unique_states"):
        op.drop_column("jobs", column)


def _index_keys(condition: str) -> None:
    op.drop_index("jobs_unique_key", "jobs")
    op.create_index("jobs_unique_key", "jobs", ["unique_key"], unique=True, postgresql_where=sa.text(condition))


def _create_joined_requests() -> None:
    op.create_table(
        "joined_requests",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("at", instant, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("joined_requests_pkey")),
    )
    op.create_index("joined_requests_at", "joined_requests", ["at"], unique=False)


def _create_queues() -> None:
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_at", instant),
        sa.Column("paused_by", sa.Text()),
        sa.Column("pause_note", sa.Text()),
        sa.Column("default_priority", sa.SmallInteger()),
        sa.Column("retention", sa.Double()),
        sa.CheckConstraint("default_priority BETWEEN 0 AND 2", name=op.f("queues_default_priority_check")),
        sa.CheckConstraint("retention >= 0", name=op.f("queues_retention_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("queues_pkey")),
    )

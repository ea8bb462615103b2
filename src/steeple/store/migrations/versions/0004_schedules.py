"""Schedules, their fires and backfills."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_schedules()
    _create_backfills()
    _create_fires()
    op.create_index(
        "jobs_scheduled",
        "jobs",
        ["schedule_id"],
        postgresql_where=sa.text("schedule_id IS NOT NULL AND state IN ('PENDING', 'RUNNING')"),
    )


def downgrade() -> None:
    op.drop_index("jobs_scheduled", "jobs")
    for table in ("fires", "backfills", "schedules"):
        op.drop_table(table)


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("args", postgresql.JSON(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("cron", sa.Text()),
        sa.Column("every", sa.Double()),
        sa.Column("times", sa.ARRAY(instant)),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("anchor", instant, nullable=False),
        sa.Column("starts_at", instant),
        sa.Column("ends_at", instant),
        sa.Column("jitter", sa.Double(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("catch_up_window", sa.Double(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pause_note", sa.Text()),
        sa.Column("next_time", instant),
        sa.Column("next_due", instant),
        sa.Column("created_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nonnulls(cron, every, times) = 1", name=op.f("schedules_rule_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("schedules_pkey")),
    )
    op.create_index("schedules_name", "schedules", ["name"], unique=True)
    op.create_index(
        "schedules_due",
        "schedules",
        ["next_due"],
        postgresql_where=sa.text("NOT paused AND next_due IS NOT NULL"),
    )


def _create_backfills() -> None:
    op.create_table(
        "backfills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", instant, nullable=False),
        sa.Column("ends_at", instant, nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("created_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", instant),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("backfills_schedule_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("backfills_pkey")),
    )
    op.create_index("backfills_of_schedule", "backfills", ["schedule_id", "id"])
    op.create_index("backfills_open", "backfills", ["id"], postgresql_where=sa.text("finished_at IS NULL"))


def _create_fires() -> None:
    op.create_table(
        "fires",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("time", instant, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text()),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("backfill_id", sa.Uuid()),
        sa.Column("at", instant, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fires_schedule_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["backfill_id"], ["backfills.id"], name=op.f("fires_backfill_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("schedule_id", "time", name=op.f("fires_pkey")),
    )
    op.create_index("fires_at", "fires", ["at"])
    for name, columns, condition in (
        ("fires_of_backfill", ["backfill_id", "outcome", "time"], "backfill_id IS NOT NULL"),
        ("fires_waiting", ["schedule_id", "time"], "outcome = 'queued' AND backfill_id IS NULL"),
    ):
        op.create_index(name, "fires", columns, postgresql_where=sa.text(condition))
    op.create_index("fires_of_job", "fires", ["job_id"], unique=True, postgresql_where=sa.text("job_id IS NOT NULL"))

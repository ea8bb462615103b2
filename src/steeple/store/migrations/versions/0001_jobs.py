"""The first schema: jobs, their attempts and logs, workers, tasks, keys, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

job_state = postgresql.ENUM("PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED", name="job_state", create_type=False)
instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    job_state.create(op.get_bind())
    _create_api_keys()
    _create_counters()
    _create_finished_minutes()
    _create_finished_totals()
    _create_jobs()
    _index_jobs()
    _create_tasks()
    _create_watermarks()
    _create_workers()
    _create_attempts()
    _create_job_logs()


def downgrade() -> None:
    for table in (
        "job_logs",
        "attempts",
        "workers",
        "watermarks",
        "tasks",
        "jobs",
        "finished_totals",
        "finished_minutes",
        "counters",
        "api_keys",
    ):
        op.drop_table(table)
    job_state.drop(op.get_bind())


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", instant),
        sa.Column("revoked_at", instant),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_hash", "api_keys", ["hash"], unique=True)


def _create_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("counters_pkey")),
    )


def _create_finished_minutes() -> None:
    op.create_table(
        "finished_minutes",
        sa.Column("minute", instant, nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("state", job_state, nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("run_seconds", sa.Double(), nullable=False),
        sa.Column("wait_seconds", sa.Double(), nullable=False),
        sa.Column("run_buckets", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("wait_buckets", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("minute", "queue", "task", "state", name=op.f("finished_minutes_pkey")),
    )


def _create_finished_totals() -> None:
    op.create_table(
        "finished_totals",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("state", job_state, nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("run_seconds", sa.Double(), nullable=False),
        sa.Column("wait_seconds", sa.Double(), nullable=False),
        sa.Column("run_buckets", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("wait_buckets", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("queue", "task", "state", name=op.f("finished_totals_pkey")),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", job_state, server_default="PENDING", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("run_at", instant, nullable=False),
        sa.Column("created_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", instant),
        sa.Column("finished_at", instant),
        sa.Column("expires_at", instant),
        sa.Column("cancel_requested_at", instant),
        sa.Column("timeout", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("slot", sa.SmallInteger()),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("schedule_id", sa.Uuid()),
        sa.Column("unique_key", sa.Text()),
        sa.Column("idempotency_owner", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_hash", sa.LargeBinary()),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("retry", postgresql.JSON()),
        sa.Column("args", postgresql.JSON(), nullable=False),
        sa.Column("progress", postgresql.JSON()),
        sa.Column("result", postgresql.JSON()),
        sa.Column("error", postgresql.JSON()),
        sa.CheckConstraint("attempt BETWEEN 0 AND max_attempts", name=op.f("jobs_attempts_check")),
        sa.CheckConstraint("crashes BETWEEN 0 AND 3", name=op.f("jobs_crashes_check")),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name=op.f("jobs_priority_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
        postgresql_with={
            "fillfactor": "85",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_analyze_scale_factor": "0.05",
            "autovacuum_vacuum_cost_delay": "0",
        },
    )


def _index_jobs() -> None:
    op.create_index(
        "jobs_due",
        "jobs",
        ["queue", "priority", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "jobs_expiring",
        "jobs",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING' AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "jobs_finished", "jobs", ["finished_at"], unique=False, postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.create_index(
        "jobs_idempotency_key",
        "jobs",
        ["idempotency_owner", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index("jobs_running", "jobs", ["worker_id"], unique=False, postgresql_where=sa.text("state = 'RUNNING'"))
    op.create_index(
        "jobs_tags", "jobs", ["tags"], unique=False, postgresql_using="gin", postgresql_where=sa.text("tags <> '{}'")
    )
    op.create_index(
        "jobs_unique_key",
        "jobs",
        ["unique_key"],
        unique=True,
        postgresql_where=sa.text("unique_key IS NOT NULL AND state IN ('PENDING', 'RUNNING')"),
    )
    op.create_index(
        "jobs_unsuccessful",
        "jobs",
        ["state", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('FAILED', 'CANCELLED')"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("schema", postgresql.JSON(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("timeout", sa.Double(), nullable=False),
        sa.Column("retry", postgresql.JSON(), nullable=False),
        sa.Column("is_async", sa.Boolean(), nullable=False),
        sa.Column("updated_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("tasks_pkey")),
    )


def _create_watermarks() -> None:
    op.create_table(
        "watermarks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("watermarks_pkey")),
    )
    op.execute("INSERT INTO watermarks (name, at) VALUES ('finished_minutes', 'epoch')")


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("queues", sa.ARRAY(sa.Text())),
        sa.Column("priorities", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("tasks", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("started_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", instant, server_default=sa.text("now()"), nullable=False),
        sa.Column("draining", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("ended_at", instant),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
        postgresql_with={"fillfactor": "50"},
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", job_state, nullable=False),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("started_at", instant),
        sa.Column("finished_at", instant),
        sa.Column("error", postgresql.JSON()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("attempts_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "fence", name=op.f("attempts_pkey")),
    )


def _create_job_logs() -> None:
    op.create_table(
        "job_logs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("fields", postgresql.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("job_logs_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("job_logs_pkey")),
    )
    op.create_index("job_logs_job", "job_logs", ["job_id", "id"], unique=False)

"""Limits by key, fair keys and what they hold back: jobs with such rules have indexes of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OF_QUEUES: dict[str, sa.Integer | sa.Double[float]] = {
    "max_running": sa.Integer(),
    "rate_count": sa.Integer(),
    "rate_period": sa.Double(),
    "rate_burst": sa.Integer(),
}
_READY = "state = 'PENDING' AND held_by IS NULL"
_PLAIN = f"{_READY} AND limits IS NULL AND fair_key IS NULL"
_RULED = f"{_READY} AND (limits IS NOT NULL OR fair_key IS NOT NULL)"

# Of the jobs that a key holds back, lets the first of each lane try again.
_LET_GO = """
CREATE FUNCTION steeple_let_go(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parked record;
    lane_queue text := '';
    lane_priority smallint := -1;
BEGIN
    LOOP
        SELECT id, queue, priority INTO parked FROM jobs
        WHERE state = 'PENDING' AND held_by = 'limit:' || name AND (queue, priority) > (lane_queue, lane_priority)
          AND run_at <= clock_timestamp() AND (expires_at IS NULL OR expires_at > clock_timestamp())
        ORDER BY queue, priority, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        UPDATE jobs SET held_by = NULL WHERE id = parked.id;
        lane_queue := parked.queue;
        lane_priority := parked.priority;
    END LOOP;
END
$$
"""

# When a job that names limits no longer runs, those that each of them holds back may try again. Under the lock that
# claims take as well: whatever they held back until now is seen. And when one ends that had been let go and had not
# come to run, the next one may in its stead; without the lock, as many may end at once.
_UNPARK = """
CREATE FUNCTION steeple_unpark() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY OLD.limits LOOP
        IF OLD.state = 'RUNNING' THEN
            PERFORM pg_advisory_xact_lock(hashtextextended(name, 0));
        END IF;
        PERFORM steeple_let_go(name);
    END LOOP;
    RETURN NULL;
END
$$
"""

# When a pending job that names limits goes elsewhere, be it in time: one that was held back tries there, and in the
# stead of one that had been let go the next one does.
_MOVED = """
CREATE FUNCTION steeple_limited_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    IF OLD.held_by IS NOT NULL THEN
        UPDATE jobs SET held_by = NULL WHERE id = NEW.id AND held_by = OLD.held_by;
        RETURN NULL;
    END IF;
    FOREACH name IN ARRAY OLD.limits LOOP
        PERFORM steeple_let_go(name);
    END LOOP;
    RETURN NULL;
END
$$
"""

_TRIGGER_OF_MOVES = """
CREATE TRIGGER jobs_limited_moved AFTER UPDATE OF queue, priority, run_at, limits ON jobs FOR EACH ROW
WHEN (OLD.limits IS NOT NULL AND OLD.state = 'PENDING' AND NEW.state = 'PENDING'
      AND (OLD.held_by IS NULL OR OLD.held_by LIKE 'limit:%' OR OLD.held_by LIKE 'rate:%')
      AND ((OLD.queue, OLD.priority, OLD.run_at) <> (NEW.queue, NEW.priority, NEW.run_at)
           OR OLD.limits IS DISTINCT FROM NEW.limits))
EXECUTE FUNCTION steeple_limited_moved()
"""

_TRIGGER = """
CREATE TRIGGER jobs_unpark AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.limits IS NOT NULL AND OLD.held_by IS NULL AND NEW.state <> OLD.state AND NEW.state <> 'RUNNING'
      AND OLD.state IN ('PENDING', 'RUNNING'))
EXECUTE FUNCTION steeple_unpark()
"""

_TRIGGER_OF_DELETES = """
CREATE TRIGGER jobs_unpark_deleted AFTER DELETE ON jobs FOR EACH ROW
WHEN (OLD.limits IS NOT NULL AND OLD.held_by IS NULL AND OLD.state IN ('PENDING', 'RUNNING'))
EXECUTE FUNCTION steeple_unpark()
"""


_DROP = (
    "DROP TRIGGER jobs_limited_moved ON jobs",
    "DROP TRIGGER jobs_unpark_deleted ON jobs",
    "DROP TRIGGER jobs_unpark ON jobs",
    "DROP FUNCTION steeple_limited_moved",
    "DROP FUNCTION steeple_unpark",
    "DROP FUNCTION steeple_let_go",
)


def upgrade() -> None:
    op.execute('ALTER TABLE jobs ALTER COLUMN held_by TYPE text COLLATE "C"')
    op.add_column("jobs", sa.Column("limits", sa.ARRAY(sa.Text())))
    op.add_column("jobs", sa.Column("fair_key", sa.Text()))
    op.create_check_constraint(op.f("jobs_fair_key_check"), "jobs", "fair_key <> ''")
    op.add_column("tasks", sa.Column("limits", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("tasks", sa.Column("fair_key", sa.Text()))
    for name, kind in _OF_QUEUES.items():
        op.add_column("queues", sa.Column(name, kind))
    op.drop_index("jobs_due", "jobs")
    _index("jobs_due", ["queue", "priority", "run_at", "id"], _PLAIN)
    _index("jobs_due_by_rule", ["queue", "priority", "run_at", "id"], _RULED)
    _index("jobs_sharing", ["queue", "priority", "fair_key", "run_at", "id"], f"{_READY} AND fair_key IS NOT NULL")
    _index("jobs_running_limited", ["queue"], "state = 'RUNNING' AND limits IS NOT NULL")
    op.create_table(
        "limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("max_running", sa.Integer()),
        sa.Column("rate_count", sa.Integer()),
        sa.Column("rate_period", sa.Double()),
        sa.Column("rate_burst", sa.Integer()),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("limits_pkey")),
    )
    op.create_index("limits_patterns", "limits", ["key"], postgresql_where=sa.text("key LIKE '%*%'"))
    op.create_table(
        "limit_tokens",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("limit_tokens_pkey")),
    )
    op.create_table(
        "weights",
        sa.Column("fair_key", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("fair_key", name=op.f("weights_pkey")),
    )
    op.create_table(
        "shares",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("fair_key", sa.Text(), nullable=False),
        sa.Column("virtual", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "priority", "fair_key", name=op.f("shares_pkey")),
    )
    op.create_table(
        "share_clocks",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("clock", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "priority", name=op.f("share_clocks_pkey")),
    )
    for statement in (_LET_GO, _UNPARK, _MOVED, _TRIGGER, _TRIGGER_OF_DELETES, _TRIGGER_OF_MOVES):
        op.execute(statement)


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "jobs", columns, postgresql_where=sa.text(where))


def downgrade() -> None:
    for statement in _DROP:
        op.execute(statement)
    for table in ("share_clocks", "shares", "weights", "limit_tokens", "limits"):
        op.drop_table(table)
    for index in ("jobs_running_limited", "jobs_sharing", "jobs_due_by_rule", "jobs_due"):
        op.drop_index(index, "jobs")
    _index("jobs_due", ["queue", "priority", "run_at", "id"], _READY)
    for column in _OF_QUEUES:
        op.drop_column("queues", column)
    for column in ("fair_key", "limits"):
        op.drop_column("jobs", column)
    for column in ("fair_key", "limits"):
        op.drop_column("tasks", column)

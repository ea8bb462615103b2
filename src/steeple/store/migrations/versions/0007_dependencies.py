"""Jobs that wait for others: what each waits for, and what lets it go in the transaction that ends those."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

job_state = postgresql.ENUM(name="job_state", create_type=False)

# What the functions do goes by indexes, however small the tables were when a session planned it. Where they know the
# ids, they compare states as text, so that the planner goes by the primary key and not through all that are held.
_PLANNING = (
    """
ALTER FUNCTION steeple_settle_children
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
""",
    """
ALTER FUNCTION steeple_end_parents
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
""",
    """
ALTER FUNCTION steeple_confirm_children
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
""",
)

_DUE = ["queue", "priority", "run_at", "id"]

# Decides about children that wait, some of whose parents have just ended: nothing to wait for any more, or a failure.
# Whom that cancels are parents themselves, perhaps of thousands, one after the other: a loop, as the depth to which
# triggers may call each other has a limit. Their own trigger finds nothing to do, as nobody waits for them any more.
#
# Two transactions that end the last two parents at the same moment do not see each other's. So a child is left alone
# only if some other parent is found that nobody is just ending, and its edge is kept from that until we have committed:
# whoever ends that parent later sees what was done here. Without such a witness, the child itself is locked, and then
# looked at anew. Witnesses are the youngest parents, which as a rule end last.
_SETTLE_CHILDREN = """
CREATE FUNCTION steeple_settle_children(children uuid[], has_failure boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    waiting uuid[] := children;
    doomed uuid[];
BEGIN
    IF NOT has_failure THEN
        SELECT array_agg(child) INTO waiting FROM unnest(children) AS child LEFT JOIN LATERAL (
            SELECT parent_id FROM job_parents WHERE child_id = child AND ended_as IS NULL
            ORDER BY parent_id DESC LIMIT 1 FOR SHARE SKIP LOCKED
        ) AS witness ON true
        WHERE witness.parent_id IS NULL;
    END IF;
    WHILE waiting IS NOT NULL LOOP
        PERFORM FROM jobs WHERE id = ANY (waiting) AND CAST(state AS text) = 'PENDING' AND held_by = 'parents'
        ORDER BY id FOR UPDATE;
        WITH judged AS MATERIALIZED (
            SELECT id, CASE
                WHEN has_failure AND on_parent_failure <> 'run' AND EXISTS (
                    SELECT FROM job_parents WHERE child_id = jobs.id AND ended_as IN ('FAILED', 'CANCELLED')
                ) THEN on_parent_failure
                WHEN NOT EXISTS (SELECT FROM job_parents WHERE child_id = jobs.id AND ended_as IS NULL) THEN 'let go'
                END AS verdict
            FROM jobs WHERE id = ANY (waiting) AND CAST(state AS text) = 'PENDING' AND held_by = 'parents'
        ),
        decided AS (
            UPDATE jobs SET held_by = CASE WHEN verdict = 'hold' THEN 'parent failed' END,
                            run_at = GREATEST(run_at, clock_timestamp())
            FROM judged WHERE jobs.id = judged.id AND verdict IN ('let go', 'hold')
        )
        SELECT array_agg(id) INTO doomed FROM judged WHERE verdict = 'cancel';
        EXIT WHEN doomed IS NULL;
        WITH ended AS (
            UPDATE job_parents SET ended_as = 'CANCELLED' WHERE ctid = ANY (ARRAY(
                SELECT edge.place FROM unnest(doomed) AS parent CROSS JOIN LATERAL (
                    SELECT ctid AS place FROM job_parents WHERE parent_id = parent AND ended_as IS NULL FOR UPDATE
                ) AS edge
            ))
            RETURNING child_id
        )
        SELECT array_agg(DISTINCT child_id) INTO waiting FROM ended;
        UPDATE jobs SET state = 'CANCELLED', fence = fence + 1, finished_at = now(), held_by = NULL,
            has_children = false, error = (
                SELECT json_build_object(
                    'type', 'ParentFailed', 'message', format('its parent %s ended %s', parent_id, ended_as),
                    'traceback', NULL, 'reason', 'parent_failed'
                )
                FROM job_parents WHERE child_id = jobs.id AND ended_as IN ('FAILED', 'CANCELLED')
                ORDER BY parent_id LIMIT 1
            )
        WHERE id = ANY (doomed);
        has_failure := true;
    END LOOP;
END
$$
"""

# Notes how jobs end for which others wait, and settles those. A statement that ends many calls this first, in the same
# transaction, which is far quicker than their triggers one by one. Everybody locks in one order: what is noted, then
# the children, but for those with many parents yet to end, which will not be let go now.
_END_PARENTS = """
CREATE FUNCTION steeple_end_parents(parents uuid[], outcomes job_state[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    edges tid[];
    children uuid[];
    failed uuid[];
BEGIN
    SELECT array_agg(edge.place), array_agg(DISTINCT edge.child_id) INTO edges, children
    FROM (SELECT id FROM unnest(parents) AS id ORDER BY id) AS parent CROSS JOIN LATERAL (
        SELECT ctid AS place, child_id FROM job_parents WHERE parent_id = parent.id AND ended_as IS NULL
        ORDER BY child_id FOR UPDATE
    ) AS edge;
    IF children IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM jobs
    WHERE CAST(state AS text) = 'PENDING' AND held_by = 'parents' AND id = ANY (ARRAY(
        SELECT child FROM unnest(children) AS child
        WHERE (SELECT count(*) FROM (
                   SELECT FROM job_parents WHERE child_id = child AND ended_as IS NULL LIMIT 512
               ) AS open_edge) < 512
    ))
    ORDER BY id FOR UPDATE;
    WITH ended AS (
        UPDATE job_parents SET ended_as = outcomes[array_position(parents, parent_id)] WHERE ctid = ANY (edges)
        RETURNING child_id, ended_as
    )
    SELECT array_agg(DISTINCT child_id) INTO failed FROM ended WHERE ended_as <> 'SUCCESS';
    IF failed IS NOT NULL THEN
        PERFORM steeple_settle_children(failed, true);
    END IF;
    PERFORM steeple_settle_children(children, false);
END
$$
"""

# A job that others wait for has ended, or was deleted before it had.
_PARENT_ENDED = """
CREATE FUNCTION steeple_parent_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM steeple_end_parents(ARRAY[OLD.id], ARRAY[CAST('CANCELLED' AS job_state)]);
    ELSE
        PERFORM steeple_end_parents(ARRAY[NEW.id], ARRAY[NEW.state]);
    END IF;
    RETURN NULL;
END
$$
"""

# What a job waited for goes with it.
_CHILD_DELETED = """
CREATE FUNCTION steeple_child_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM job_parents WHERE child_id = OLD.id;
    RETURN NULL;
END
$$
"""

# Has new jobs wait for their parents, once both are committed, or lets them go where those have ended already. Jobs
# and parents are locked in one order: those that run first, as whoever ends them does. A parent that is gone counts as
# cancelled. Gives the lanes of those that are due.
_CONFIRM_CHILDREN = """
CREATE FUNCTION steeple_confirm_children(wanted uuid[])
RETURNS TABLE (lane_queue text, lane_priority smallint, due bigint) LANGUAGE plpgsql AS $$
DECLARE
    children uuid[];
BEGIN
    PERFORM FROM jobs WHERE id = ANY (
        wanted || ARRAY(SELECT parent_id FROM job_parents WHERE child_id = ANY (wanted) AND ended_as IS NULL)
    ) ORDER BY CAST(state AS text) = 'PENDING', id FOR UPDATE;
    SELECT array_agg(id) INTO children FROM jobs
    WHERE id = ANY (wanted) AND CAST(state AS text) = 'PENDING' AND held_by = 'unconfirmed';
    UPDATE job_parents SET ended_as = COALESCE(parent.state, 'CANCELLED')
    FROM job_parents AS edge LEFT JOIN jobs AS parent ON parent.id = edge.parent_id
    WHERE edge.child_id = ANY (children) AND edge.ended_as IS NULL
      AND (parent.id IS NULL OR parent.state IN ('SUCCESS', 'FAILED', 'CANCELLED'))
      AND job_parents.child_id = edge.child_id AND job_parents.parent_id = edge.parent_id;
    UPDATE jobs SET has_children = true
    WHERE NOT has_children AND id = ANY (ARRAY(
        SELECT parent_id FROM job_parents WHERE child_id = ANY (children) AND ended_as IS NULL
    ));
    UPDATE jobs SET held_by = 'parents' WHERE id = ANY (children);
    PERFORM steeple_settle_children(children, true);
    RETURN QUERY SELECT queue, priority, count(*) FROM jobs
        WHERE id = ANY (children) AND CAST(state AS text) = 'PENDING' AND held_by IS NULL
          AND run_at <= clock_timestamp()
        GROUP BY queue, priority;
END
$$
"""

_ENDS = """
CREATE TRIGGER jobs_parent_ended AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.has_children AND OLD.state IN ('PENDING', 'RUNNING') AND NEW.state IN ('SUCCESS', 'FAILED', 'CANCELLED'))
EXECUTE FUNCTION steeple_parent_ended()
"""

_DELETED_AS_PARENT = """
CREATE TRIGGER jobs_parent_deleted AFTER DELETE ON jobs FOR EACH ROW
WHEN (OLD.has_children) EXECUTE FUNCTION steeple_parent_ended()
"""

_DELETED_AS_CHILD = """
CREATE TRIGGER jobs_child_deleted AFTER DELETE ON jobs FOR EACH ROW
WHEN (OLD.on_parent_failure IS NOT NULL) EXECUTE FUNCTION steeple_child_deleted()
"""


_DROP = (
    "DROP TRIGGER jobs_child_deleted ON jobs",
    "DROP TRIGGER jobs_parent_deleted ON jobs",
    "DROP TRIGGER jobs_parent_ended ON jobs",
    "DROP FUNCTION steeple_confirm_children",
    "DROP FUNCTION steeple_child_deleted",
    "DROP FUNCTION steeple_parent_ended",
    "DROP FUNCTION steeple_end_parents",
    "DROP FUNCTION steeple_settle_children",
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("held_by", sa.Text()))
    op.add_column("jobs", sa.Column("on_parent_failure", sa.Text()))
    op.add_column("jobs", sa.Column("has_children", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("jobs", sa.Column("flow_id", sa.Uuid()))
    op.create_check_constraint(
        op.f("jobs_on_parent_failure_check"), "jobs", "on_parent_failure IN ('cancel', 'run', 'hold')"
    )
    op.drop_index("jobs_due", "jobs")
    _index("jobs_due", _DUE, "state = 'PENDING' AND held_by IS NULL")
    _index("jobs_held", ["held_by", *_DUE], "state = 'PENDING' AND held_by IS NOT NULL")
    _index("jobs_flow", ["flow_id", "id"], "flow_id IS NOT NULL")
    _create_job_parents()
    op.create_table(
        "flows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("flows_pkey")),
    )
    functions = (_SETTLE_CHILDREN, _END_PARENTS, _PARENT_ENDED, _CHILD_DELETED, _CONFIRM_CHILDREN)
    for statement in (*functions, *_PLANNING, _ENDS, _DELETED_AS_PARENT, _DELETED_AS_CHILD):
        op.execute(statement)


def _create_job_parents() -> None:
    op.create_table(
        "job_parents",
        sa.Column("child_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("ended_as", job_state),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name=op.f("job_parents_pkey")),
    )
    # The second condition, which always holds, keeps the planner from going through one of them for the other.
    op.create_index(
        "job_parents_to_end",
        "job_parents",
        ["parent_id", "child_id"],
        postgresql_where=sa.text("ended_as IS NULL AND parent_id IS NOT NULL"),
    )
    op.create_index(
        "job_parents_awaited",
        "job_parents",
        ["child_id", "parent_id"],
        postgresql_where=sa.text("ended_as IS NULL AND child_id IS NOT NULL"),
    )


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "jobs", columns, postgresql_where=sa.text(where))


def downgrade() -> None:
    for statement in _DROP:
        op.execute(statement)
    op.drop_table("flows")
    op.drop_table("job_parents")
    for index in ("jobs_flow", "jobs_held", "jobs_due"):
        op.drop_index(index, "jobs")
    _index("jobs_due", _DUE, "state = 'PENDING'")
    for column in ("flow_id", "has_children", "on_parent_failure", "held_by"):
        op.drop_column("jobs", column)

"""The statements of claims by rules (``ruled_claims``)."""

from sqlalchemy import text

# No two claims by rules in a queue at once, and none while a limit of a pattern of keys is being set. They are durable,
# as all claims are. Keys of limits have locks apart from those of queues.
TURN = text("""
SELECT pg_advisory_xact_lock(hashtextextended(:queue, 1)),
       pg_advisory_xact_lock_shared(hashtextextended('patterns', 2)),
       set_config('synchronous_commit', 'on', true)
""")

# The fair keys that have jobs due in a lane: skips through the index from one to the next.
SHARERS = text("""
WITH RECURSIVE sharer (fair_key) AS (
    (SELECT fair_key FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND fair_key IS NOT NULL AND queue = :queue AND priority = :priority
     ORDER BY fair_key LIMIT 1)
    UNION ALL
    SELECT following.fair_key FROM sharer CROSS JOIN LATERAL (
        SELECT fair_key FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND fair_key > sharer.fair_key
          AND queue = :queue AND priority = :priority
        ORDER BY fair_key LIMIT 1
    ) AS following
)
SELECT sharer.fair_key, COALESCE(weights.weight, 1.0) AS weight, shares.virtual
FROM sharer
LEFT JOIN weights USING (fair_key)
LEFT JOIN shares ON shares.fair_key = sharer.fair_key AND shares.queue = :queue AND shares.priority = :priority
WHERE EXISTS (
    SELECT FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND fair_key = sharer.fair_key
      AND queue = :queue AND priority = :priority AND run_at <= :until
)
""")

# The time of the claim, if the claimant still counts as alive now that it is its turn, and the queue is open. Where the
# lane's clock is; whether jobs without a fair key are due in it, and where they are.
STANDING = text("""
WITH clock AS MATERIALIZED (
    SELECT now, LEAST(now, CAST(:until AS timestamptz)) AS until
    FROM (SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now) AS clock, workers
    WHERE workers.id = CAST(:worker_id AS uuid) AND workers.ended_at IS NULL
      AND NOT EXISTS (SELECT FROM queues WHERE name = :queue AND paused_at IS NOT NULL)
)
SELECT now, until,
       COALESCE((SELECT clock FROM share_clocks WHERE queue = :queue AND priority = :priority), 0.0) AS clock,
       (SELECT virtual FROM shares WHERE queue = :queue AND priority = :priority AND fair_key = '') AS virtual,
       EXISTS (
           SELECT FROM jobs
           WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
             AND queue = :queue AND priority = :priority AND run_at <= until
       ) OR EXISTS (
           SELECT FROM jobs
           WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
             AND fair_key IS NULL AND queue = :queue AND priority = :priority AND run_at <= until
       ) AS has_others
FROM clock
""")

# The first due jobs of some fair keys, as many of each as it has turns.
DUE_OF_SHARERS = text("""
SELECT sharer.fair_key, due.id, due.run_at, due.limits, due.goes_alone
FROM unnest(CAST(:keys AS text[]), CAST(:turns AS integer[])) AS sharer (fair_key, turns)
CROSS JOIN LATERAL (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND queue = :queue AND priority = :priority
      AND fair_key = sharer.fair_key AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT sharer.turns FOR UPDATE SKIP LOCKED
) AS due
""")

# The first due jobs without a fair key, with limits or without.
DUE_OF_NOBODY = text("""
WITH plain AS MATERIALIZED (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
      AND queue = :queue AND priority = :priority AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT :turns FOR UPDATE SKIP LOCKED
),
limited AS MATERIALIZED (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL) AND fair_key IS NULL
      AND queue = :queue AND priority = :priority AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT :turns FOR UPDATE SKIP LOCKED
)
SELECT CAST('' AS text) AS fair_key, * FROM (SELECT * FROM plain UNION ALL SELECT * FROM limited) AS due
ORDER BY run_at, id LIMIT :turns
""")

# Takes jobs that may start.
CLAIM = text("""
WITH chosen AS (SELECT * FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS chosen (id, place)),
claimed AS (
    UPDATE jobs SET state = 'RUNNING', fence = fence + 1, attempt = attempt + 1,
        started_at = :now, worker_id = CAST(:worker_id AS uuid), slot = CAST(:slot AS smallint),
        progress = NULL, stop = NULL
    WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'PENDING'
    RETURNING id, fence, task, CAST(args AS text) AS args, queue, attempt, max_attempts, timeout,
              retry, run_at, started_at AS claimed_at, crashes
)
SELECT claimed.* FROM claimed JOIN chosen USING (id) ORDER BY place
""")

# Puts jobs aside that a limit keeps from starting, so that they hold up no others.
PARK = text("""
UPDATE jobs SET held_by = parked.held_by
FROM unnest(CAST(:ids AS uuid[]), CAST(:held_by AS text[])) AS parked (id, held_by)
WHERE jobs.id = parked.id AND jobs.state = 'PENDING'
""")

# Where the keys are that had turns.
SHARE = text("""
INSERT INTO shares (queue, priority, fair_key, virtual)
SELECT :queue, :priority, fair_key, virtual
FROM unnest(CAST(:keys AS text[]), CAST(:virtual AS float8[])) AS share (fair_key, virtual)
ON CONFLICT (queue, priority, fair_key) DO UPDATE SET virtual = excluded.virtual
""")

# Where the lane's clock is now.
TICK = text("""
INSERT INTO share_clocks (queue, priority, clock) VALUES (:queue, :priority, :clock)
ON CONFLICT (queue, priority) DO UPDATE SET clock = excluded.clock
""")

# Lets the next job of the lane try of each of some keys, whose place another one did not take.
LET_NEXT_TRY = text("""
UPDATE jobs SET held_by = NULL WHERE id IN (
    SELECT following.id FROM unnest(CAST(:held_by AS text[])) AS holder (held_by) CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE state = 'PENDING' AND jobs.held_by = holder.held_by AND queue = :queue AND priority = :priority
          AND run_at <= :now AND (expires_at IS NULL OR expires_at > :now) AND id <> ALL (CAST(:parked AS uuid[]))
        ORDER BY run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS following
)
""")

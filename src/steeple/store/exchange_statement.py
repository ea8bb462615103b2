"""The statement at the heart."""

from sqlalchemy import text

# Finishes what is still held under its fence, then claims the best due jobs.
#
# Lanes go by priority and then by their oldest job; but a lane whose oldest job has waited :starvation seconds longer
# than that of the best lane goes first, with those jobs that have. The nested loop over lanes stops as soon as enough
# jobs are locked, so nothing is locked that is not claimed. Without a list of queues, the lanes are found by skipping
# through the index from one (queue, priority) to the next.
# Where a claim left off in each lane it says in its marks, and the next one may go on from there: what was claimed
# stays in the index, dead, for as long as any transaction is open, and from the beginning each claim would have to go
# through all of it. Of the last second nothing is left out: a submit may be about to commit that began in it.
# What is claimed is found by an array of ids: by the index, however many the planner takes it for.
# A job that ever crashed is claimed alone, so that it takes no other down; and so is one at its last attempt: should
# the worker die, that attempt must not be spent on a job that only waited behind another. Neither is claimed ahead.
# The finishes come as one JSON text, which costs a slot far less than an array for each column. Of them only the stale
# ones are told, as each row of what is claimed has that beside it.
# Jobs with limits or fair keys are claimed elsewhere, lane by lane (``ruled_claims``): here only what goes before them.
# The locks of the limits that finished jobs named are taken in one order, before a trigger takes them.
# So are all jobs of a queue that has a limit of its own.
# A paused queue's lanes are bound, but closed; they keep their marks, so that nothing of them is passed over later.
# Claims are durable as finishes are: a fence that was handed out is never handed out again, even if the server crashes.
# Those that wait for finished jobs are settled first, and all at once, so that no trigger has to for each.
# Finishes come sorted by id and are locked in that order; their state is compared as text so that the planner goes by
# the primary key, not through the index of all running jobs.
EXCHANGE = text("""
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now,
           set_config('synchronous_commit', 'on', true) AS durability
),
finish AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(:finishes AS json)) AS finish (
        id uuid, fence bigint, state text, result text, error text, retry_in float8, began_ago float8, ended_ago float8
    )
),
held AS MATERIALIZED (
    SELECT finish.*, job.target, job.limits, job.has_children FROM finish CROSS JOIN LATERAL (
        SELECT limits, has_children,
               CASE WHEN finish.state = 'PENDING' AND cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                    ELSE finish.state END AS target
        FROM jobs WHERE id = finish.id AND fence = finish.fence AND CAST(jobs.state AS text) = 'RUNNING'
        FOR UPDATE
    ) AS job
),
locked AS MATERIALIZED (
    SELECT count(pg_advisory_xact_lock(hashtextextended(key, 0))) FROM (
        SELECT DISTINCT key COLLATE "C" AS key FROM held CROSS JOIN LATERAL unnest(limits) AS key ORDER BY 1
    ) AS key
),
brood AS MATERIALIZED (
    SELECT steeple_end_parents(array_agg(id), array_agg(CAST(target AS job_state)))
    FROM held, locked WHERE has_children AND target <> 'PENDING' HAVING count(*) > 0
),
finished AS (
    UPDATE jobs SET
        state = CAST(held.target AS job_state),
        fence = jobs.fence + CASE WHEN held.target = 'CANCELLED' THEN 1 ELSE 0 END,
        result = CAST(held.result AS json),
        error = CAST(held.error AS json),
        run_at = CASE WHEN held.target = 'PENDING' THEN clock.now + held.retry_in * interval '1 s' ELSE run_at END,
        started_at = clock.now - held.began_ago * interval '1 s',
        finished_at = CASE WHEN held.target <> 'PENDING' THEN clock.now - held.ended_ago * interval '1 s' END,
        has_children = jobs.has_children AND held.target = 'PENDING'
    FROM clock, held, locked
    WHERE jobs.id = held.id AND (SELECT count(*) FROM brood) < 2
    RETURNING jobs.id, jobs.attempt, jobs.worker_id, held.fence, held.target, held.error,
              jobs.stop, jobs.started_at, clock.now - held.ended_ago * interval '1 s' AS ended_at
),
recorded AS (
    INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, error, stop)
    SELECT id, fence, attempt, CAST(CASE WHEN target = 'CANCELLED' THEN 'CANCELLED' ELSE 'FAILED' END AS job_state),
           worker_id, started_at, ended_at, CAST(error AS json), stop
    FROM finished WHERE target <> 'SUCCESS'
),
stale AS MATERIALIZED (
    SELECT id, fence FROM finish EXCEPT SELECT id, fence FROM finished
),
claimant AS MATERIALIZED (
    SELECT clock.now FROM clock, workers
    WHERE workers.id = CAST(:worker_id AS uuid) AND workers.ended_at IS NULL
),
known_lane (queue, priority) AS (
    (SELECT queue, priority FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
       AND CAST(:queues AS text[]) IS NULL AND CAST(:marks AS text) IS NULL AND EXISTS (SELECT FROM claimant)
     ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT following.queue, following.priority
    FROM known_lane CROSS JOIN LATERAL (
        SELECT queue, priority FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
          AND (queue, priority) > (known_lane.queue, known_lane.priority)
        ORDER BY queue, priority LIMIT 1
    ) AS following
),
known_ruled_lane (queue, priority) AS (
    (SELECT queue, priority FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
       AND CAST(:queues AS text[]) IS NULL AND CAST(:marks AS text) IS NULL AND EXISTS (SELECT FROM claimant)
     ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT following.queue, following.priority
    FROM known_ruled_lane CROSS JOIN LATERAL (
        SELECT queue, priority FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
          AND (queue, priority) > (known_ruled_lane.queue, known_ruled_lane.priority)
        ORDER BY queue, priority LIMIT 1
    ) AS following
),
bound_lane AS MATERIALIZED (
    SELECT queue, priority, since, queue IN (SELECT name FROM queues WHERE paused_at IS NOT NULL) AS is_closed,
           queue IN (SELECT name FROM queues WHERE max_running IS NOT NULL OR rate_count IS NOT NULL) AS is_limited,
           EXISTS (
               SELECT FROM unnest(CAST(:passed_queues AS text[]), CAST(:passed_priorities AS smallint[]))
                   AS passed (queue, priority)
               WHERE passed.queue = lane.queue AND passed.priority = lane.priority
           ) AS is_passed
    FROM (
        SELECT queue, priority, since
        FROM json_to_recordset(CAST(:marks AS json)) AS mark (queue text, priority smallint, since timestamptz)
        UNION ALL
        SELECT queue, priority, '-infinity'
        FROM (
            SELECT queue FROM known_lane UNION SELECT queue FROM known_ruled_lane
            UNION ALL SELECT unnest(CAST(:queues AS text[]))
        ) AS known,
             unnest(CAST(:priorities AS smallint[])) AS priority
        WHERE CAST(:marks AS text) IS NULL
    ) AS lane
),
plain_head AS MATERIALIZED (
    SELECT bound_lane.queue, bound_lane.priority, bound_lane.since, oldest.run_at, bound_lane.is_limited AS is_ruled
    FROM claimant, bound_lane CROSS JOIN LATERAL (
        SELECT run_at FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
          AND queue = bound_lane.queue AND priority = bound_lane.priority
          AND run_at >= bound_lane.since AND run_at <= claimant.now
          AND (expires_at IS NULL OR expires_at > claimant.now)
          AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
        ORDER BY run_at, id LIMIT 1
    ) AS oldest
    WHERE NOT bound_lane.is_closed AND NOT (bound_lane.is_limited AND bound_lane.is_passed)
),
ruled_head AS MATERIALIZED (
    SELECT bound_lane.queue, bound_lane.priority, bound_lane.since, oldest.run_at, true AS is_ruled
    FROM claimant, bound_lane CROSS JOIN LATERAL (
        SELECT run_at FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
          AND queue = bound_lane.queue AND priority = bound_lane.priority AND run_at <= claimant.now
          AND (expires_at IS NULL OR expires_at > claimant.now)
          AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
        ORDER BY run_at, id LIMIT 1
    ) AS oldest
    WHERE NOT bound_lane.is_closed AND NOT bound_lane.is_passed
),
head AS MATERIALIZED (
    SELECT queue, priority, min(since) AS since, min(run_at) AS run_at, bool_or(is_ruled) AS is_ruled
    FROM (SELECT * FROM plain_head UNION ALL SELECT * FROM ruled_head) AS kind
    GROUP BY queue, priority
),
best AS MATERIALIZED (
    SELECT run_at - CAST(:starvation AS float8) * interval '1 s' AS starving_since
    FROM head ORDER BY priority, run_at LIMIT 1
),
lane AS MATERIALIZED (
    SELECT *, bool_or(is_ruled) OVER (ORDER BY turn, run_at ROWS UNBOUNDED PRECEDING) AS is_at_rules FROM (
        SELECT queue, priority, since, run_at, is_ruled, 0 AS turn, CAST('-infinity' AS timestamptz) AS after,
               starving_since AS until
        FROM head, best WHERE run_at <= starving_since
        UNION ALL
        SELECT queue, priority, since, run_at, is_ruled, 1 + priority, starving_since, claimant.now
        FROM head, best, claimant
    ) AS part ORDER BY turn, run_at
),
ready AS MATERIALIZED (
    SELECT due.id, due.goes_alone FROM claimant, lane CROSS JOIN LATERAL (
        SELECT id, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
          AND NOT lane.is_at_rules AND queue = lane.queue AND priority = lane.priority
          AND run_at >= lane.since AND run_at > lane.after AND run_at <= lane.until
          AND (expires_at IS NULL OR expires_at > claimant.now)
          AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
        ORDER BY run_at, id LIMIT CAST(:limit AS integer) FOR UPDATE SKIP LOCKED
    ) AS due LIMIT CAST(:limit AS integer)
),
placed AS (
    SELECT id, row_number() OVER () AS place,
           bool_or(goes_alone) OVER (ROWS UNBOUNDED PRECEDING) AS is_at_a_loner FROM ready
),
chosen AS (
    SELECT id, place FROM placed WHERE (place = 1 AND NOT CAST(:ahead AS boolean)) OR NOT is_at_a_loner
),
claimed AS (
    UPDATE jobs SET state = 'RUNNING', fence = fence + 1, attempt = attempt + 1,
        started_at = clock.now, worker_id = CAST(:worker_id AS uuid), slot = CAST(:slot AS smallint),
        progress = NULL, stop = NULL
    FROM clock WHERE jobs.id = ANY (ARRAY(SELECT id FROM chosen))
    RETURNING jobs.id, fence, task, CAST(args AS text) AS args, queue, attempt, max_attempts, timeout,
              retry, run_at, started_at AS claimed_at, crashes, priority
),
mark AS (
    SELECT bound_lane.queue, bound_lane.priority,
           LEAST(
               COALESCE(
                   max(claimed.run_at),
                   CASE WHEN head.queue IS NULL AND NOT (bound_lane.is_closed OR bound_lane.is_limited)
                        THEN claimant.now END,
                   bound_lane.since
               ),
               claimant.now - interval '1 s'
           ) AS since
    FROM claimant, bound_lane
    LEFT JOIN plain_head AS head USING (queue, priority) LEFT JOIN claimed USING (queue, priority)
    GROUP BY bound_lane.queue, bound_lane.priority, bound_lane.since, bound_lane.is_closed, bound_lane.is_limited,
             head.queue, claimant.now
)
SELECT (SELECT array_agg(id ORDER BY id) FROM stale) AS stale_ids,
       (SELECT array_agg(fence ORDER BY id) FROM stale) AS stale_fences,
       (SELECT queue FROM lane LIMIT 1) AS due_queue,
       (SELECT priority FROM lane LIMIT 1) AS due_priority,
       (SELECT queue FROM lane WHERE is_ruled LIMIT 1) AS ruled_queue,
       (SELECT priority FROM lane WHERE is_ruled LIMIT 1) AS ruled_priority,
       (SELECT until FROM lane WHERE is_ruled LIMIT 1) AS ruled_until,
       EXISTS (SELECT FROM claimant) AS is_alive,
       EXISTS (SELECT FROM brood) OR EXISTS (SELECT FROM held WHERE limits IS NOT NULL) AS has_let_go,
       CASE WHEN COALESCE(chosen.place, 1) = 1
            THEN (SELECT CAST(json_agg(json_build_object('queue', queue, 'priority', priority, 'since', since)) AS text)
                  FROM mark)
       END AS marks,
       chosen.place, claimed.id, fence, task, args, claimed.queue, attempt, max_attempts, timeout, retry, run_at,
       claimed_at, crashes
FROM (SELECT) AS always LEFT JOIN (claimed JOIN chosen USING (id)) ON true
ORDER BY chosen.place
""")

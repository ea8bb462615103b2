"""The ways to find the ids of a page of jobs: in a window of the primary key, by kind, or by tag.

Jobs of one state, queue and task are of one kind: they stand side by side in an index, in the order of their ids, and a
page of several kinds is merged from those, past any number of jobs of others. Jobs that run are of no kind: they are
few, and looked through one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

MOST_KINDS = 500
"""Finding more of them, and the newest job of each, takes longer than looking through all jobs for a while."""

MOST_OF_A_KIND = 1000
"""Jobs that are gone through at once. Both numbers stand in the statement, so that the planner knows them."""

_MOST_TAGGED = 5000

_MATCHES = """
    (CAST(:states AS text[]) IS NULL OR state = ANY (CAST(CAST(:states AS text[]) AS job_state[])))
    AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
    AND (CAST(:queues AS text[]) IS NULL OR queue = ANY (CAST(:queues AS text[])))
    AND (CAST(:priorities AS smallint[]) IS NULL OR priority = ANY (CAST(:priorities AS smallint[])))
    AND (CAST(:tags AS text[]) IS NULL OR tags && CAST(:tags AS text[]))
    AND (CAST(:created_after AS timestamptz) IS NULL OR created_at >= CAST(:created_after AS timestamptz))
    AND (CAST(:created_before AS timestamptz) IS NULL OR created_at < CAST(:created_before AS timestamptz))
    AND (CAST(:containing AS text) IS NULL
         OR task ILIKE :containing OR unique_key ILIKE :containing OR array_to_string(tags, ' ') ILIKE :containing
         OR CAST(id AS text) LIKE :beginning
         OR (error IS NOT NULL AND error ->> 'message' ILIKE :containing))
"""

# The jobs that match among so many before some id.
_IN_WINDOW = text(
    f"""
SELECT id FROM (
    SELECT * FROM jobs WHERE id < :before AND id >= :least ORDER BY id DESC LIMIT :window
) AS job
WHERE {_MATCHES}
ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - made of nothing but what stands here
)

# The last id of that window; none if it reaches the end.
_WINDOW_ENDS = text("""
SELECT id FROM jobs WHERE id < :before AND id >= :least ORDER BY id DESC OFFSET :window - 1 LIMIT 1
""")

# Finds the kinds by skipping through their index from one queue, and from one task, to the next; then goes through the
# newest :window jobs of each of those kinds whose newest job is among the newest. What matches is told down to a
# horizon: below it there may be more in kinds that were left out, or not gone through to their end. Above it jobs are
# read in the order of their ids, in which most of them lie on the disk, until enough have been found.
#
# A task is compared as a range, with the id: were it compared as equal, the order of a kind would be that of ids alone,
# and the planner might go down the primary key for it, past any number of jobs of other kinds. The outer limits tell it
# that all this is little. With too many kinds nothing is looked at.
_MERGE = """
known_queue (state, queue) AS (
    SELECT wanted.state, least.queue
    FROM unnest(CAST(CAST(:idle_states AS text[]) AS job_state[])) AS wanted (state) CROSS JOIN LATERAL (
        SELECT queue FROM idle WHERE state = wanted.state ORDER BY queue LIMIT 1
    ) AS least
    WHERE CAST(:queues AS text[]) IS NULL
    UNION ALL
    SELECT known_queue.state, following.queue FROM known_queue CROSS JOIN LATERAL (
        SELECT queue FROM idle WHERE state = known_queue.state AND queue > known_queue.queue
        ORDER BY queue LIMIT 1
    ) AS following
),
some_queue (state, queue) AS (
    SELECT state, queue FROM known_queue
    UNION
    SELECT state, queue
    FROM unnest(CAST(CAST(:idle_states AS text[]) AS job_state[])) AS state, unnest(CAST(:queues AS text[])) AS queue
),
known_task (state, queue, task) AS (
    SELECT some_queue.state, some_queue.queue, least.task FROM some_queue CROSS JOIN LATERAL (
        SELECT task FROM idle WHERE state = some_queue.state AND queue = some_queue.queue
        ORDER BY task LIMIT 1
    ) AS least
    WHERE CAST(:tasks AS text[]) IS NULL
    UNION ALL
    SELECT known_task.state, known_task.queue, following.task FROM known_task CROSS JOIN LATERAL (
        SELECT task FROM idle WHERE state = known_task.state AND queue = known_task.queue AND task > known_task.task
        ORDER BY task LIMIT 1
    ) AS following
),
kind AS MATERIALIZED (
    SELECT state, queue, task FROM (
        SELECT state, queue, task FROM known_task
        UNION ALL
        SELECT state, queue, task FROM some_queue, (SELECT DISTINCT unnest(CAST(:tasks AS text[])) AS task) AS given
    ) AS some_kind LIMIT 500 + 1
),
head AS MATERIALIZED (
    SELECT kind.state, kind.queue, kind.task, newest.id FROM kind CROSS JOIN LATERAL (
        SELECT id FROM idle
        WHERE state = kind.state AND queue = kind.queue AND (task, id) < (kind.task, CAST(:before AS uuid))
          AND (task, id) >= (kind.task, CAST(:least AS uuid))
        ORDER BY task DESC, id DESC LIMIT 1
    ) AS newest
    WHERE (SELECT count(*) FROM kind) <= 500
    ORDER BY newest.id DESC LIMIT 64
),
seen AS MATERIALIZED (
    SELECT job.id, job.place FROM head CROSS JOIN LATERAL (
        SELECT id, row_number() OVER () AS place FROM (
            SELECT id FROM idle
            WHERE state = head.state AND queue = head.queue AND (task, id) < (head.task, CAST(:before AS uuid))
              AND (task, id) >= (head.task, CAST(:least AS uuid))
            ORDER BY task DESC, id DESC LIMIT CAST(:window AS integer)
        ) AS newest LIMIT 1000
    ) AS job
),
horizon AS MATERIALIZED (
    SELECT id FROM (
        SELECT id FROM seen WHERE place = CAST(:window AS integer)
        UNION ALL
        (SELECT id FROM head ORDER BY id DESC OFFSET 63)
    ) AS last_seen ORDER BY id DESC LIMIT 1
),
settled AS (
    SELECT job.id FROM (
        SELECT id FROM seen WHERE id >= COALESCE((SELECT id FROM horizon), CAST(:least AS uuid)) ORDER BY id DESC
    ) AS candidate CROSS JOIN LATERAL (
        SELECT id FROM matching WHERE id = candidate.id LIMIT 1
    ) AS job LIMIT :limit
)
SELECT (SELECT count(*) FROM kind) > 500 AS are_too_many, (SELECT id FROM horizon) AS horizon, ARRAY(
    SELECT id FROM (
        SELECT id FROM settled
        UNION ALL
        SELECT id FROM (SELECT id FROM matching WHERE state = 'RUNNING' OFFSET 0) AS running
        WHERE CAST(:with_running AS boolean) AND id < CAST(:before AS uuid)
    ) AS found
    WHERE id >= COALESCE((SELECT id FROM horizon), CAST(:least AS uuid)) ORDER BY id DESC LIMIT :limit
) AS found
"""

# The jobs that match, of all that do not run.
_BY_KIND = text(
    f"""
WITH RECURSIVE idle AS NOT MATERIALIZED (SELECT * FROM jobs WHERE state <> 'RUNNING'),
matching AS NOT MATERIALIZED (SELECT id, state FROM jobs WHERE {_MATCHES}),
{_MERGE}
"""  # noqa: S608 - made of nothing but what stands here
)

# The jobs that match, of those with tags.
_BY_KIND_TAGGED = text(
    f"""
WITH RECURSIVE idle AS NOT MATERIALIZED (SELECT * FROM jobs WHERE state <> 'RUNNING' AND tags <> '{{}}'),
matching AS NOT MATERIALIZED (SELECT id, state FROM jobs WHERE {_MATCHES}),
{_MERGE}
"""  # noqa: S608 - made of nothing but what stands here
)

# The jobs that match among so many that have tags, by two indexes at once: that of tags and that of all that have some.
# What comes from a SELECT is unknown to the planner, and it takes either condition for one that few jobs meet. So only
# jobs are read that both indexes name, and not all that ever had a tag, from all over the disk.
_LATELY_TAGGED = text(
    f"""
WITH bound AS MATERIALIZED (
    SELECT id FROM jobs WHERE cardinality(tags) > 0 AND id < :before ORDER BY id DESC OFFSET :window LIMIT 1
)
SELECT (SELECT id FROM bound) AS horizon, ARRAY(
    SELECT id FROM (
        SELECT * FROM jobs
        WHERE tags && (SELECT CAST(:tags AS text[])) AND tags <> '{{}}' AND cardinality(tags) > 0
          AND id < (SELECT CAST(:before AS uuid)) AND id >= COALESCE((SELECT id FROM bound), CAST(:least AS uuid))
        OFFSET 0
    ) AS tagged
    WHERE id >= CAST(:least AS uuid) AND {_MATCHES} ORDER BY id DESC LIMIT :limit
) AS found
"""  # noqa: S608 - made of nothing but what stands here
)

# The jobs that match, by the index of tags; not for a tag that many have.
_BY_TAG = text(
    f"""
WITH tagged AS MATERIALIZED (
    SELECT id, {_MATCHES} AS matches FROM jobs WHERE tags && CAST(:tags AS text[]) AND tags <> '{{}}' LIMIT :most
)
SELECT count(*) = :most AS are_too_many, ARRAY(
    SELECT id FROM tagged WHERE matches AND id < :before AND id >= :least ORDER BY id DESC LIMIT :limit
) AS found
FROM tagged
"""  # noqa: S608 - made of nothing but what stands here
)


@dataclass(frozen=True)
class Found:
    """``ids`` match, newest first; ``horizon``: below it nothing was looked at, None if nothing is left."""

    ids: list[UUID]
    horizon: UUID | None


def find_in_window(connection: Connection, parameters: Mapping[str, Any], before: UUID, window: int) -> Found:
    """What matches among the newest ``window`` jobs before an id, up to the limit: then the horizon is None, too."""
    given = {**parameters, "before": before, "window": window}
    ids = list(connection.execute(_IN_WINDOW, given).scalars())
    return Found(ids, None if len(ids) == parameters["limit"] else connection.execute(_WINDOW_ENDS, given).scalar())


def find_by_kind(
    connection: Connection, parameters: Mapping[str, Any], before: UUID, window: int, *, are_tagged: bool
) -> Found | None:
    """What matches before an id, among the newest ``window`` of each kind, ``MOST_OF_A_KIND`` at most.

    None with too many kinds.
    """
    statement = _BY_KIND_TAGGED if are_tagged else _BY_KIND
    row = connection.execute(statement, {**parameters, "before": before, "window": window}).one()
    return None if row.are_too_many else Found(row.found, row.horizon)


def find_lately_tagged(connection: Connection, parameters: Mapping[str, Any], before: UUID, window: int) -> Found:
    """What matches among the newest ``window`` jobs before an id that have any tags."""
    row = connection.execute(_LATELY_TAGGED, {**parameters, "before": before, "window": window}).one()
    return Found(row.found, row.horizon)


def find_by_tag(connection: Connection, parameters: Mapping[str, Any], before: UUID) -> list[UUID] | None:
    """All that matches before an id, up to the limit; None if too many jobs have the tags."""
    row = connection.execute(_BY_TAG, {**parameters, "before": before, "most": _MOST_TAGGED}).one()
    return None if row.are_too_many else row.found

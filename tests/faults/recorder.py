"""Records histories: triggers that only tests install, and a journal of what clients and the test itself know.

Use::

    recorder = Recorder(database_url)       # SQLAlchemy's URL or libpq's, schema at head
    recorder.install()                      # before the first job
    journal = Journal()
    with journal.asking(Call.SUBMIT, idempotency=("tenant", "k1"), request=body) as asked:
        reply = client.post(…)              # an exception leaves the outcome unknown, and passes
        asked.replied(reply.status_code, reply.json()["id"])
    with journal.trouble():                 # nothing is promised about times meanwhile
        journal.server_crashed()            # right before PostgreSQL is killed
        …
    journal.healed()
    history = recorder.history(journal, effects_path)
    assert_holds(history)                   # of ``checker``

The lines are written in the transactions that make the changes, so what is rolled back leaves none.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from fault_tasks import named_fence, read_effects
from history import Answer, Call, History, Limit, Reply, Row, Span, Transition, WorkerLine

from servers import libpq_url
from steeple.domain.states import State

_INSTALL = """
CREATE TABLE IF NOT EXISTS recorded_clock (now timestamptz);
CREATE TABLE IF NOT EXISTS recorded_jobs (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    clock timestamptz,
    txid bigint NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint),
    job_id uuid NOT NULL,
    before json,
    after json
);
CREATE TABLE IF NOT EXISTS recorded_workers (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker_id uuid NOT NULL,
    ended boolean
);

CREATE OR REPLACE FUNCTION recorded_row(job jobs) RETURNS json LANGUAGE sql AS $$
    SELECT json_build_object(
        'state', job.state, 'fence', job.fence, 'attempt', job.attempt, 'max_attempts', job.max_attempts,
        'crashes', job.crashes, 'run_at', job.run_at, 'started_at', job.started_at, 'expires_at', job.expires_at,
        'worker_id', job.worker_id, 'slot', job.slot, 'unique_key', job.unique_key,
        'idempotency_owner', job.idempotency_owner, 'idempotency_key', job.idempotency_key,
        'schedule_id', job.schedule_id,
        'on_parent_failure', job.on_parent_failure,
        'parents', CASE WHEN job.on_parent_failure IS NOT NULL
                        THEN ARRAY(SELECT parent_id FROM job_parents WHERE child_id = job.id) END,
        'is_cancel_requested', job.cancel_requested_at IS NOT NULL,
        'result', CAST(job.result AS text), 'error', CAST(job.error AS text)
    )
$$;

CREATE OR REPLACE FUNCTION record_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recorded_jobs (clock, job_id, before, after) VALUES (
        (SELECT now FROM recorded_clock),
        CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END,
        CASE TG_OP WHEN 'INSERT' THEN NULL ELSE recorded_row(OLD) END,
        CASE TG_OP WHEN 'DELETE' THEN NULL ELSE recorded_row(NEW) END
    );
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION record_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recorded_workers (worker_id, ended)
    SELECT NEW.id, CASE WHEN NEW.ended_at IS NOT NULL THEN true WHEN TG_OP = 'INSERT' THEN false END;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER record_coming AFTER INSERT OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION record_job();
CREATE OR REPLACE TRIGGER record_change AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (recorded_row(OLD)::text IS DISTINCT FROM recorded_row(NEW)::text) EXECUTE FUNCTION record_job();
CREATE OR REPLACE TRIGGER record_worker AFTER INSERT ON workers FOR EACH ROW EXECUTE FUNCTION record_worker();
CREATE OR REPLACE TRIGGER record_end AFTER UPDATE ON workers FOR EACH ROW
    WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at) EXECUTE FUNCTION record_worker();
"""

_FORGET = "TRUNCATE recorded_jobs, recorded_workers, recorded_clock RESTART IDENTITY"

_PRESENT = "SELECT id, recorded_row(jobs) FROM jobs"

_DROPPED = "SELECT value FROM counters WHERE name = 'dropped_wake_ups'"

_INSTANTS = ("run_at", "started_at", "expires_at")
_IDS = ("worker_id", "schedule_id")


class Asked:
    """A call under way. Unless it is told the answer, its outcome stays unknown."""

    def __init__(self) -> None:
        self.answer = Answer.UNKNOWN
        self.job_ids: tuple[UUID, ...] = ()
        self.state: State | None = None

    def accepted(self, *job_ids: UUID | str, state: State | None = None) -> None:
        self.answer, self.state = Answer.ACCEPTED, state
        self.job_ids = tuple(UUID(str(each)) for each in job_ids) or self.job_ids

    def refused(self) -> None:
        self.answer = Answer.REFUSED

    def replied(self, status: int, *job_ids: UUID | str, state: str | None = None) -> None:
        """As HTTP tells it: of a 5xx nobody knows what it did."""
        if status < 300:
            self.accepted(*job_ids, state=None if state is None else State(state))
        elif status < 500:
            self.refused()


class Journal:
    """What clients saw and what the test did. Any thread may write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replies: list[Reply] = []
        self._troubles: list[Span] = []
        self._crashes: list[datetime] = []
        self._limits: list[Limit] = []
        self._forged = 0
        self._healed_at: datetime | None = None

    @contextmanager
    def asking(
        self, call: Call, *about: UUID | str, idempotency: tuple[str, str] | None = None, request: str | None = None
    ) -> Iterator[Asked]:
        """For the length of a call. ``about``: the job that it concerns, where it is known before."""
        asked, asked_at = Asked(), _now()
        asked.job_ids = tuple(UUID(str(each)) for each in about)
        try:
            yield asked
        finally:
            reply = Reply(call, asked.answer, asked_at, _now(), asked.job_ids, idempotency, request, asked.state)
            with self._lock:
                self._replies.append(reply)

    @contextmanager
    def trouble(self, *, after: timedelta = timedelta(seconds=5)) -> Iterator[None]:
        """Something is broken in the block; ``after`` it, times mean nothing for so long yet."""
        since = _now()
        try:
            yield
        finally:
            with self._lock:
                self._troubles.append(Span(since, _now() + after))

    def stood_still(self, since: datetime, until: datetime) -> None:
        """The whole machine did, for so long."""
        with self._lock:
            self._troubles.append(Span(since, until + timedelta(seconds=1)))

    def server_crashed(self) -> None:
        """PostgreSQL is about to be killed."""
        with self._lock:
            self._crashes.append(_now())

    def forged(self, count: int) -> None:
        """So many messages were put into the broker that are no wake-ups, and must be dropped and counted."""
        with self._lock:
            self._forged += count

    def limited(self, limit: Limit) -> None:
        with self._lock:
            self._limits.append(limit)

    def healed(self) -> None:
        """Nothing is broken from now on, and nothing will be."""
        self._healed_at = _now()

    def history(self, **parts: Any) -> History:
        """What is in the journal, with ``parts`` from elsewhere."""
        with self._lock:
            return History(
                replies=tuple(self._replies),
                troubles=tuple(self._troubles),
                server_crashes=tuple(self._crashes),
                limits=tuple(self._limits),
                forged=self._forged,
                healed_at=self._healed_at,
                **parts,
            )


class Recorder:
    """Of one database. Connects anew for each call, since the server may be gone at any time between."""

    def __init__(self, database_url: str) -> None:
        self._url = libpq_url(database_url)

    def install(self) -> None:
        """Record from now on. May be done again."""
        self._execute(_INSTALL)

    def forget(self) -> None:
        """Begin anew."""
        self._execute(_FORGET)

    def history(self, journal: Journal, effects: Path | None = None, **facts: Any) -> History:
        """All that was recorded. ``effects``: the file of ``fault_tasks``; ``facts``: fields of ``History``."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            lines = connection.execute("SELECT * FROM recorded_jobs ORDER BY number").fetchall()
            workers = connection.execute("SELECT * FROM recorded_workers ORDER BY number").fetchall()
            present = connection.execute(_PRESENT).fetchall()
            dropped = connection.execute(_DROPPED).fetchone()
        return replace(
            journal.history(
                transitions=tuple(_transition(*line) for line in lines),
                workers=tuple(WorkerLine(*line) for line in workers),
                present={job_id: _row(found) for job_id, found in present},
                effects=() if effects is None else read_effects(effects),
                dropped=0 if dropped is None else dropped[0],
            ),
            **facts,
        )

    def _execute(self, statements: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statements.encode())


def _transition(
    number: int,
    at: datetime,
    clock: datetime | None,
    txid: int,
    job_id: UUID,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> Transition:
    return Transition(number, at, job_id, _row(before) if before else None, _row(after) if after else None, txid, clock)


def _row(found: dict[str, Any]) -> Row:
    given: dict[str, Any] = {each.name: found[each.name] for each in fields(Row) if each.name in found}
    given |= {name: datetime.fromisoformat(given[name]) for name in _INSTANTS if given[name] is not None}
    given |= {name: UUID(given[name]) for name in _IDS if given[name] is not None}
    given["parents"] = tuple(map(UUID, given.get("parents") or ()))
    named = named_fence(*(json.loads(text) if text else None for text in (given["result"], given["error"])))
    return Row(**given | {"state": State(given["state"]), "fence_named": named})


def _now() -> datetime:
    return datetime.now(UTC)

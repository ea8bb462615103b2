"""What a crash of the server loses: the transactions that did not wait for the disk, back to the last one that did.

The server itself is not killed, which takes long; a trigger notes what each transaction did and whether it waited, and
``lose`` undoes those that a crash may lose. ``make soak`` kills the server, too.
"""

from control import Control
from psycopg.types.json import Json

_INSTALL = """
CREATE TABLE simulated.changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txid bigint,
    is_durable boolean NOT NULL,
    relation text,
    before json,
    after json
);

CREATE FUNCTION simulated.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        INSERT INTO simulated.changes (txid, is_durable, relation, before, after) VALUES (
            CAST(CAST(pg_current_xact_id() AS text) AS bigint), false, TG_TABLE_NAME,
            CASE TG_OP WHEN 'INSERT' THEN NULL ELSE row_to_json(OLD) END,
            CASE TG_OP WHEN 'DELETE' THEN NULL ELSE row_to_json(NEW) END
        );
    ELSE
        INSERT INTO simulated.changes (is_durable) VALUES (true);
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON jobs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION simulated.note_change();
CREATE CONSTRAINT TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON workers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION simulated.note_change();
"""

_LOST = """
SELECT txid, relation, before, after FROM simulated.changes
WHERE number > COALESCE((SELECT max(number) FROM simulated.changes WHERE is_durable), 0) ORDER BY number DESC
"""

_REMOVE = "DELETE FROM public.{} WHERE id = %s"
_PUT_BACK = "INSERT INTO public.{0} SELECT * FROM json_populate_record(CAST(NULL AS public.{0}), %s)"


def install(control: Control) -> None:
    """Note changes from now on. Wants the schema of ``simulated_time``."""
    control.execute(_INSTALL)


def forget(control: Control) -> None:
    """All that was done so far is on the disk by now."""
    control.execute("DELETE FROM simulated.changes")


def lose(control: Control) -> int:
    """Undo, the last first, what a crash may lose, with the lines that were recorded of it. Nobody may be in a
    transaction. Returns how many changes were lost."""
    with control.connection.transaction():
        control.execute("SET LOCAL session_replication_role = replica")
        lost = control.execute(_LOST).fetchall()
        for txid, relation, before, after in lost:
            control.execute(_REMOVE.format(relation), [(after or before)["id"]])
            if before is not None:
                control.execute(_PUT_BACK.format(relation), [Json(before)])
            control.execute("DELETE FROM recorded_jobs WHERE txid = %s", [txid])
        forget(control)
    return len(lost)

"""``steeple doctor``: looks at everything the parts need and says what to do about each fault."""

import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

import typer

from steeple.cli.exits import ExitCode
from steeple.cli.faults import database_words
from steeple.cli.loading import load_settings
from steeple.cli.output import write_json, write_table
from steeple.settings import Settings

if TYPE_CHECKING:
    from steeple.store.engine import ServerFacts

SUPPORTED_POSTGRESQL = range(15, 19)
LARGEST_CLOCK_DIFFERENCE = 2.0
"""Seconds. Jobs run by the database's clock; a caller whose own is off more than this sees its ``run_at`` missed."""

_OLDEST = {"celery": (5, 7), "psycopg": (3, 2), "sqlalchemy": (2, 0)}


class Verdict(StrEnum):
    OK = "ok"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """``remedy`` says what to do about a fault; empty if nothing is to be done."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False) -> None:
    """Check versions, database, schema, broker, workers and clock; exit code 1 if anything is at fault."""
    findings = list(examine(load_settings()))
    is_well = all(finding.verdict is Verdict.OK for finding in findings)
    if as_json:
        write_json({"ok": is_well, "checks": [asdict(finding) for finding in findings]})
    else:
        rows = [(finding.check, finding.verdict.value, finding.detail, finding.remedy) for finding in findings]
        write_table(("check", "verdict", "detail", "what to do"), rows)
    raise typer.Exit(ExitCode.OK if is_well else ExitCode.FAILED)


def examine(settings: Settings) -> Iterator[Finding]:
    yield _python()
    for package in ("steeple", *_OLDEST):
        yield _package(package)
    yield from _database(settings)
    yield _attempt("broker", lambda: _broker(settings), "start it, or check STEEPLE_BROKER_URL")


def _python() -> Finding:
    verdict = Verdict.OK if sys.version_info >= (3, 11) else Verdict.FAULT
    return Finding("python", verdict, platform.python_version(), "" if verdict is Verdict.OK else "needs 3.11 or newer")


def _package(name: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, Verdict.FAULT, "not installed", "pip install 'steeple[server]'")
    oldest = _OLDEST.get(name, ())
    if tuple(int(number) for number in re.findall(r"\d+", found)[:2]) < oldest:
        return Finding(name, Verdict.FAULT, found, f"needs {'.'.join(map(str, oldest))} or newer")
    return Finding(name, Verdict.OK, found)


def _database(settings: Settings) -> Iterator[Finding]:
    """The checks on the database; those that build on one that failed are skipped."""
    from steeple.store.engine import create_engine, server_facts

    try:
        engine = create_engine(settings, size=1)
        with engine.begin() as connection:
            asked = datetime.now(UTC)
            facts = server_facts(connection)
            off_by = (facts.now - asked - (datetime.now(UTC) - asked) / 2).total_seconds()
    except Exception as error:  # noqa: BLE001 - whatever is in the way is what the doctor was asked for
        yield Finding("database", Verdict.FAULT, database_words(error), "start it, or check STEEPLE_DATABASE_URL")
        yield from (Finding(check, Verdict.SKIPPED, "needs the database") for check in ("clock", "schema", "workers"))
        return
    engine.dispose()
    yield _server(facts)
    yield _clock(off_by)
    yield _attempt("schema", lambda: _schema(settings), "run `steeple db upgrade`")
    yield _attempt("workers", lambda: _workers(settings), "run `steeple db upgrade`")


def _server(facts: "ServerFacts") -> Finding:
    if facts.version in SUPPORTED_POSTGRESQL:
        return Finding("database", Verdict.OK, f"PostgreSQL {facts.version}")
    oldest, newest = SUPPORTED_POSTGRESQL[0], SUPPORTED_POSTGRESQL[-1]
    return Finding("database", Verdict.FAULT, f"PostgreSQL {facts.version}", f"use PostgreSQL {oldest} to {newest}")


def _clock(off_by: float) -> Finding:
    detail = f"{off_by:+.2f} s from here to the database"
    if abs(off_by) <= LARGEST_CLOCK_DIFFERENCE:
        return Finding("clock", Verdict.OK, detail)
    return Finding("clock", Verdict.FAULT, detail, "set both clocks by NTP: jobs run by the database's")


def _schema(settings: Settings) -> Finding:
    from steeple.store.engine import database_url
    from steeple.store.migrate import status

    found = status(database_url(settings).render_as_string(hide_password=False))
    if found.current == found.head:
        return Finding("schema", Verdict.OK, f"at head, {found.head}")
    if not found.is_behind:
        return Finding("schema", Verdict.OK, f"at {found.current}, of a newer version; this one knows {found.head}")
    return Finding(
        "schema", Verdict.FAULT, f"at {found.current or 'none'}, not {found.head}", "run `steeple db upgrade`"
    )


def _workers(settings: Settings) -> Finding:
    from steeple.store.engine import create_engine
    from steeple.store.workers import live_workers

    engine = create_engine(settings, size=1)
    try:
        with engine.begin() as connection:
            workers = live_workers(connection, settings.worker_dead_after)
    finally:
        engine.dispose()
    if not workers:
        return Finding("workers", Verdict.FAULT, "none is alive", "start one: `steeple worker MODULE:APP`")
    if troubled := [f"{worker.name} is {worker.trouble}" for worker in workers if worker.trouble]:
        return Finding(
            "workers", Verdict.FAULT, ", ".join(troubled), "look at its log, and at the way from it to there"
        )
    names = ", ".join(f"{worker.name} ({worker.slots} slots)" for worker in workers)
    return Finding("workers", Verdict.OK, names)


def _broker(settings: Settings) -> Finding:
    from steeple.broker.celery_app import ping

    ping(settings)
    return Finding("broker", Verdict.OK, "answers")


def _attempt(check: str, examine: Callable[[], Finding], remedy: str) -> Finding:
    try:
        return examine()
    except Exception as error:  # noqa: BLE001 - whatever is in the way is what the doctor was asked for
        return Finding(check, Verdict.FAULT, database_words(error) or type(error).__name__, remedy)

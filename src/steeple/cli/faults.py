"""Turns the faults that a user can do something about into one line and an exit code. All others keep their traceback:
they are Steeple's own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from steeple import errors
from steeple.cli.exits import ExitCode
from steeple.cli.output import complain


class CommandFailed(Exception):
    """``message`` says what is wrong and what to do about it."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True)
class Fault:
    message: str
    code: ExitCode


class Commands(TyperGroup):
    """The root group: every command below it ends in an exit code, and an expected fault in one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            fault = explain(error)
            if fault is None:
                raise
            complain(fault.message)
            raise typer.Exit(fault.code) from error


def explain(error: Exception) -> Fault | None:
    """The words and the exit code for a fault that is expected, None for any other."""
    match error:
        case CommandFailed():
            return Fault(error.message, error.code)
        case errors.ConfigurationError():
            return Fault(redacted(str(error)), ExitCode.USAGE)
        case errors.CutOff():
            return Fault(f"the worker ended: it was {error}; start it again", ExitCode.UNREACHABLE)
        case errors.SteepleError():
            return Fault(redacted(str(error)), ExitCode.FAILED)
        case _:
            return _explain_client_error(error)


def _explain_client_error(error: Exception) -> Fault | None:
    from steeple import client

    match error:
        case client.TransportError():
            return Fault(_no_answer(error), ExitCode.UNREACHABLE)
        case client.UnexpectedReply():
            return Fault(f"{error}; does STEEPLE_URL name a Steeple API?", ExitCode.UNREACHABLE)
        case client.WaitTimeout():
            return Fault(f"{error}; it goes on, wait again with `steeple jobs wait`", ExitCode.WAIT_TIMEOUT)
        case client.OperationTimeout():
            return Fault(f"{error}; it goes on, wait again with `steeple operations wait`", ExitCode.WAIT_TIMEOUT)
        case client.ApiError():
            return _explain_refusal(error)
        case _:
            return None


def _explain_refusal(error: Exception) -> Fault:
    from steeple import client

    match error:
        case client.JobNotFound():
            return Fault(f"no job {error.job_id}", ExitCode.NOT_FOUND)
        case client.OperationNotFound():
            return Fault(f"no operation {error.operation_id}", ExitCode.NOT_FOUND)
        case client.NotFound():
            return Fault(error.problem.detail or str(error), ExitCode.NOT_FOUND)
        case client.Conflict():
            return Fault(error.problem.detail or str(error), ExitCode.CONFLICT)
        case client.InvalidRequest():
            return Fault(_wrong_fields(error), ExitCode.USAGE)
        case client.Unauthorized():
            advice = "set STEEPLE_API_KEY to a key of `steeple keys create`"
            return Fault(f"the API does not know this key, or got none; {advice}", ExitCode.USAGE)
        case client.Forbidden():
            return Fault(f"the API key does not allow this: {_text(error)}; use one with more scopes", ExitCode.USAGE)
        case client.RateLimited() | client.Unavailable():
            return Fault(f"the API refuses for now: {_text(error)}; try again later", ExitCode.UNREACHABLE)
        case _:
            return Fault(f"the API answered {error}", ExitCode.FAILED)


def _no_answer(error: Any) -> str:
    if error.was_sent:
        return f"the Steeple API at {error.url} broke off its answer ({error.reason}); try again, or look at its log"
    return f"no Steeple API answers at {error.url} ({error.reason}); start it with `steeple up` or set STEEPLE_URL"


def _wrong_fields(error: Any) -> str:
    return "; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in error.errors) or _text(error)


def _text(error: Any) -> str:
    return str(error.problem.detail or error.problem.title or error.status)


@contextmanager
def reaching_the_database() -> Iterator[None]:
    """Explains a database that does not answer or lacks the schema; any other error of it passes."""
    from steeple.store.engine import DatabaseError

    try:
        yield
    except DatabaseError as error:
        # Without an SQLSTATE no server answered: it is psycopg that gave up.
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            message = f"the database does not answer ({database_words(error)}); check STEEPLE_DATABASE_URL"
            raise CommandFailed(message, ExitCode.UNREACHABLE) from error
        if state in {"42P01", "42703"}:
            raise CommandFailed(
                "the database's schema is not at head; run `steeple db upgrade`", ExitCode.USAGE
            ) from error
        raise


def database_words(error: Exception) -> str:
    """What the database's driver said, on one line, without a password and without the statement."""
    return redacted(" ".join(str(getattr(error, "orig", None) or error).split()))


def redacted(text: str) -> str:
    """``text`` without the passwords of the URLs and connection strings in it."""
    text = re.sub(r"(\w+://)\S*:\S*@", r"\1***@", text)
    return re.sub(r"(?i)(password|passwd|pwd)=('[^']*'|[^\s&;]+)", r"\1=***", text)

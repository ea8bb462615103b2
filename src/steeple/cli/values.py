"""What users type, read as options and arguments of a job. A wrong value is a usage error that says what is right."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from steeple.domain.priority import Priority, is_queue_name

_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Seconds: ``90``, ``1.5``, ``30s``, ``15m``, ``2h`` or ``7d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration, such as 90, 30s, 15m, 2h or 7d")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def rate(text: str) -> dict[str, Any]:
    """``100/1m``: so many in so long."""
    count, slash, period = text.partition("/")
    if not slash or not count.strip().isdigit() or int(count) < 1:
        raise typer.BadParameter(f"{text!r} is not a rate, such as 100/1m", param_hint="--rate")
    seconds = duration(period)
    if not seconds:
        raise typer.BadParameter(f"{text!r} has no time in it, such as 100/1m", param_hint="--rate")
    return {"count": int(count), "period": seconds}


def moment(text: str) -> datetime:
    """A moment in RFC 3339, with its zone."""
    example = "such as 2026-11-25T08:00:00Z"
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time, {example}") from None
    if value.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone: write it with one, {example}")
    return value


def queue_names(text: str) -> tuple[str, ...]:
    """``a,b`` as names of queues."""
    names = _split(text, "--queues")
    for name in names:
        if not is_queue_name(name):
            raise typer.BadParameter(
                f"{name!r} is not a queue's name: up to 100 letters, digits and . _ : -", param_hint="--queues"
            )
    return names


def priorities(text: str) -> tuple[Priority, ...]:
    """``high,default`` as priorities, the first to go first."""
    try:
        chosen = {Priority(name) for name in _split(text, "--priorities")}
    except ValueError as error:
        raise typer.BadParameter(f"{error}: choose from {', '.join(Priority)}", param_hint="--priorities") from None
    return tuple(sorted(chosen, key=lambda priority: priority.rank))


def job_arguments(document: str | None, pairs: Sequence[str]) -> dict[str, Any]:
    """The arguments of a job: the JSON object of ``--args`` and, over it, the pairs of ``--arg``."""
    return _object(document) | _pairs(pairs)


def _object(document: str | None) -> dict[str, Any]:
    if document is None:
        return {}
    try:
        value = json.loads(_content(document), parse_constant=_refuse_constant)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--args") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('needs a JSON object, such as {"month": "2026-10"}', param_hint="--args")
    return value


def _content(document: str) -> str:
    """``@file`` is the file's text, ``-`` that of stdin, anything else stands for itself."""
    if document == "-":
        return sys.stdin.read()
    if not document.startswith("@"):
        return document
    try:
        return Path(document[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {document[1:]}: {error.strerror}", param_hint="--args") from None


def _pairs(pairs: Sequence[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
        if name in arguments:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--arg")
        arguments[name] = json_or_text(value)
    return arguments


def json_or_text(value: str) -> Any:
    """The value of ``NAME=VALUE``: what it is as JSON, itself if it is none."""
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        return value


def _refuse_constant(name: str) -> NoReturn:
    # Python's json reads NaN and Infinity, which JSON does not know.
    raise ValueError(f"{name} is not a JSON value")


def _split(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("needs at least one name", param_hint=option)
    return names

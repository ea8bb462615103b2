"""Replies about schedules as JSON text. Their arguments go out as they are, so that numbers stay exact."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from steeple.api.render import time_text
from steeple.cron import reading
from steeple.domain.schedule import Definition
from steeple.scheduling import next_fires
from steeple.store.backfills import BackfillView
from steeple.store.fires import FireView
from steeple.store.schedules import ScheduleView

_SHOWN_FIRES = 5

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def schedule_text(schedule: ScheduleView) -> str:
    """The schedule as the contract has it."""
    definition = schedule.definition
    fires = [] if schedule.paused else next_fires(schedule, _SHOWN_FIRES)
    head = {"id": str(schedule.id), "name": definition.name, "task": definition.task}
    rest = {
        "queue": definition.queue,
        "priority": definition.priority,
        "cron": definition.cron,
        "interval": definition.interval,
        "times": None if definition.times is None else [time_text(time) for time in definition.times],
        "timezone": definition.timezone,
        "starts_at": _time(definition.starts_at),
        "ends_at": _time(definition.ends_at),
        "jitter": definition.jitter,
        "overlap": definition.overlap,
        "catch_up": definition.catch_up,
        "catch_up_window": definition.catch_up_window,
        "paused": schedule.paused,
        "pause_note": schedule.pause_note,
        "reading": reading(definition),
        "next_fires": [time_text(fire) for fire in fires],
        "next_fires_local": _local(fires, definition.timezone),
        "source": schedule.source,
        "version": schedule.version,
        "created_at": time_text(schedule.created_at),
        "updated_at": time_text(schedule.updated_at),
    }
    return f'{_encode(head)[:-1]},"args":{definition.args},{_encode(rest)[1:]}'


def schedules_text(schedules: Iterable[ScheduleView], next_cursor: str | None) -> str:
    return f'{{"schedules":[{",".join(map(schedule_text, schedules))}],"next_cursor":{_encode(next_cursor)}}}'


def preview_text(definition: Definition, fires: Sequence[datetime]) -> str:
    return _encode(
        {
            "reading": reading(definition),
            "timezone": definition.timezone,
            "fires": [time_text(fire) for fire in fires],
            "fires_local": _local(fires, definition.timezone),
        }
    )


def fires_text(fires: Iterable[FireView], next_before: datetime | None) -> str:
    return _encode({"fires": list(map(_fire, fires)), "next_before": _time(next_before)})


def backfill_text(backfill: BackfillView) -> str:
    return _encode(_backfill(backfill))


def backfills_text(backfills: Iterable[BackfillView]) -> str:
    return _encode({"backfills": list(map(_backfill, backfills))})


def _fire(fire: FireView) -> dict[str, Any]:
    return {
        "time": time_text(fire.time),
        "outcome": fire.outcome,
        "why": fire.why,
        "job_id": None if fire.job_id is None else str(fire.job_id),
        "backfill_id": None if fire.backfill_id is None else str(fire.backfill_id),
        "at": time_text(fire.at),
    }


def _backfill(backfill: BackfillView) -> dict[str, Any]:
    return {
        "id": str(backfill.id),
        "schedule_id": str(backfill.schedule_id),
        "from": time_text(backfill.starts_at),
        "to": time_text(backfill.ends_at),
        "max_running": backfill.max_running,
        "total": backfill.total,
        "waiting": backfill.waiting,
        "created_at": time_text(backfill.created_at),
        "finished_at": _time(backfill.finished_at),
    }


def _local(fires: Iterable[datetime], timezone: str) -> list[str]:
    zone = ZoneInfo(timezone)
    return [fire.astimezone(zone).isoformat() for fire in fires]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)

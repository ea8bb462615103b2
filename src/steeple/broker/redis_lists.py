"""Puts wake-ups into the lists that are Celery's queues in Redis: no more than there is room for, in one round trip.

By kombu it takes three, and most of what a message costs is to build it anew each time. A text that Celery's consumer
would not understand, after a change of its format, is dropped and counted by every worker.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from celery import Celery

from steeple.broker.celery_app import WAKE_TASK, queue_name, wake_keywords
from steeple.domain.priority import Lane
from steeple.domain.waking import Wakes

# Puts as many of the texts into a list as it can take before it holds ARGV[1]; returns how many.
_PUSH = """
local count = math.max(0, math.min(#ARGV - 1, tonumber(ARGV[1]) - redis.call('LLEN', KEYS[1])))
for number = 1, count do
    redis.call('LPUSH', KEYS[1], ARGV[1 + number])
end
return count
"""

_ID = "{id}"


class RedisLists:
    """Knows the text of each lane's wake-up, but for its id."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._texts: dict[Lane, str] = {}

    def push(self, client: Any, lane: Lane, wanted: Wakes) -> int:
        """Put in what is missing of ``wanted``; returns how many. Raises what Redis does."""
        texts = [self._text(lane) for _ in range(wanted.missing(0))]
        return int(client.eval(_PUSH, 1, queue_name(lane), wanted.slots, *texts))

    def _text(self, lane: Lane) -> str:
        text = self._texts.get(lane)
        if text is None:
            text = self._texts[lane] = json.dumps(self._message(lane))
        return text.replace(_ID, str(uuid4()))

    def _message(self, lane: Lane) -> Mapping[str, Any]:
        """As kombu has it in Redis."""
        task = self._celery.amqp.create_task_message(_ID, WAKE_TASK, None, wake_keywords(lane), ignore_result=True)
        return {
            "body": b64encode(json.dumps(task.body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": task.headers,
            "properties": {
                **task.properties,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue_name(lane)},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": _ID,
            },
        }

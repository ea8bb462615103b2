"""The API against its own OpenAPI document, with input that a machine makes up: no 5xx, and every reply as declared."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from running_api import Api, make_app, running
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from playground import Playground
from steeple import Settings
from steeple.api.app import create_app
from steeple.domain.states import State

NOWHERE = Settings(database_url="postgresql://nobody@nowhere/none", broker_url=None)
EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

schema = schemathesis.openapi.from_dict(create_app(None, NOWHERE).openapi())
KNOWN_IDS: list[str] = []
KNOWN_SCHEDULES: list[str] = []
KNOWN_OPERATIONS: list[str] = []
KNOWN_FLOWS: list[str] = []


@schema.hook
def map_path_parameters(_: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Every other id is that of a job which is there, in one of the states, of a schedule, an operation or a flow."""
    if not parameters or "name" in parameters or not KNOWN_IDS:
        return parameters
    ((name, value),) = parameters.items()
    number = sum(map(ord, str(value)))
    known = {
        "job_id": KNOWN_IDS,
        "schedule_id": KNOWN_SCHEDULES,
        "operation_id": KNOWN_OPERATIONS,
        "flow_id": KNOWN_FLOWS,
    }.get(name)
    return {name: known[number // 2 % len(known)]} if known and number % 2 else parameters


@pytest.fixture(scope="module")
def played(shared_database_url: str) -> Iterator[Api]:
    playground = Playground(shared_database_url)
    with pytest.MonkeyPatch.context() as patch, running(serve(playground), make_app(serve(playground))) as api:
        patch.setattr("steeple.api.waiting.LONGEST_WAIT", 0.02)
        KNOWN_IDS[:] = [str(playground.ended(state, now=None).id) for state in (State.FAILED, State.SUCCESS)]
        KNOWN_IDS.append(str(playground.running(now=None, queue="r").id))
        KNOWN_IDS.append(str(playground.add(queue="p", delay=timedelta(days=1).total_seconds(), now=None)))
        KNOWN_FLOWS[:] = KNOWN_IDS[:2]
        playground.sql("UPDATE jobs SET flow_id = id")
        for number in range(3):
            schedule = {"name": f"known {number}", "task": "anything", "interval": 3600.0}
            KNOWN_SCHEDULES.append(api.http.post("/v1/schedules", json=schedule).json()["id"])
        body = {"action": "cancel", "filter": {"task": "t"}}
        KNOWN_OPERATIONS[:] = [api.http.post("/v1/operations", json=body).json()["id"] for _ in range(2)]
        yield api
    playground.close()


def serve(playground: Playground) -> Settings:
    return Settings(database_url=playground.url, broker_url=None)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
def test_made_up_requests_are_answered_as_declared(case: Any, played: Api) -> None:
    case.call_and_validate(base_url=played.url, checks=CHECKS)

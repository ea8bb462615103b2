"""Chains of calls along the links of the OpenAPI document: what one reply names, the next call is about."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from running_api import Api, make_app, running
from schemathesis.checks import not_a_server_error
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from playground import Playground
from steeple import Settings
from steeple.api.app import create_app

NOWHERE = Settings(database_url="postgresql://nobody@nowhere/none", broker_url=None)
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ADD = {"task": "add", "args": {"a": 1, "b": 2}}

OF_JOBS = r"^/v1/(jobs|operations|flows)"
"""Where chains lead: among all operations that there are, few would get far by chance."""

schema = schemathesis.openapi.from_dict(create_app(None, NOWHERE).openapi()).include(path_regex=OF_JOBS)


@schema.hook
def map_body(context: Any, body: Any) -> Any:
    """Every other job is one that there is a task for: of made-up names alone no job would come about."""
    number = len(str(body))
    operation = context.operation.definition.raw["operationId"]
    if operation == "submit_job" and number % 4:
        return ADD | {"delay": 60.0 * (number % 2)}
    if operation == "submit_batch" and number % 4:
        return {"jobs": [ADD] * (1 + number % 3)}
    return body


@pytest.fixture(scope="module")
def served(shared_database_url: str) -> Iterator[tuple[Api, Playground]]:
    playground = Playground(shared_database_url)
    own = Settings(database_url=playground.url, broker_url=None)
    with pytest.MonkeyPatch.context() as patch, running(own, make_app(own)) as api:
        patch.setattr("steeple.api.waiting.LONGEST_WAIT", 0.02)
        yield api, playground
    playground.close()


def walk(api: Api, playground: Playground, scenarios: int, *, derandomize: bool) -> dict[str, set[int]]:
    """So many chains of up to eight calls; the statuses that came of each operation."""
    seen: dict[str, set[int]] = {}

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            """The same calls are to have the same answers: what earlier chains left behind goes."""
            playground.sql("DELETE FROM jobs")
            playground.sql("DELETE FROM operations")

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": api.url}

        def after_call(self, response: Any, case: Any) -> None:
            operation = case.operation.definition.raw["operationId"]
            seen.setdefault(operation, set()).add(response.status_code)

        def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=scenarios,
            stateful_step_count=8,
            derandomize=derandomize,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    return seen


_ALONG_LINKS = {"show_job", "list_attempts", "list_logs", "cancel_job", "retry_job", "update_job"}


def test_chains_of_calls_are_answered_as_declared(served: tuple[Api, Playground]) -> None:
    """More of them, by chance, where the first did not get everywhere."""
    seen = walk(*served, 40, derandomize=True)
    for _ in range(6):
        if not _has_been_everywhere(seen):
            for operation, statuses in walk(*served, 40, derandomize=False).items():
                seen.setdefault(operation, set()).update(statuses)
    assert _has_been_everywhere(seen), seen


def _has_been_everywhere(seen: dict[str, set[int]]) -> bool:
    done = {operation for operation, statuses in seen.items() if statuses & {200, 202}}
    return done >= _ALONG_LINKS and 409 in seen["retry_job"] | seen["cancel_job"]


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_many_chains_of_calls_are_answered_as_declared(served: tuple[Api, Playground]) -> None:
    walk(*served, 100 * int(float(os.environ.get("SOAK_MINUTES", "2"))), derandomize=False)

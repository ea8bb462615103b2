"""The OpenAPI document: complete, stable, and true to what is served."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from running_api import NOBODY, Api, make_app

from steeple import Settings
from steeple.api.app import create_app
from steeple.api.problem_kinds import Kind

OPERATIONS = {
    "submit_job": ("post", "/v1/jobs"),
    "list_jobs": ("get", "/v1/jobs"),
    "submit_batch": ("post", "/v1/jobs/batch"),
    "show_job": ("get", "/v1/jobs/{job_id}"),
    "update_job": ("patch", "/v1/jobs/{job_id}"),
    "list_attempts": ("get", "/v1/jobs/{job_id}/attempts"),
    "list_logs": ("get", "/v1/jobs/{job_id}/logs"),
    "cancel_job": ("post", "/v1/jobs/{job_id}/cancel"),
    "retry_job": ("post", "/v1/jobs/{job_id}/retry"),
    "show_flow": ("get", "/v1/flows/{flow_id}"),
    "cancel_flow": ("post", "/v1/flows/{flow_id}/cancel"),
    "retry_flow": ("post", "/v1/flows/{flow_id}/retry"),
    "list_tasks": ("get", "/v1/tasks"),
    "list_queues": ("get", "/v1/queues"),
    "list_workers": ("get", "/v1/workers"),
    "check_alive": ("get", "/livez"),
    "check_ready": ("get", "/readyz"),
    "read_metrics": ("get", "/metrics"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    settings = Settings(database_url="postgresql://nobody@nowhere/none", broker_url=None)
    found: dict[str, Any] = create_app(make_app(settings), settings).openapi()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolved(document: dict[str, Any], value: Any) -> Any:
    """``value`` with its references followed."""
    if isinstance(value, dict):
        if "$ref" in value:
            target: Any = document
            for step in value["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            return resolved(document, target)
        return {name: resolved(document, each) for name, each in value.items()}
    return [resolved(document, each) for each in value] if isinstance(value, list) else value


def test_operation_ids_are_stable(document: dict[str, Any]) -> None:
    found = {operation["operationId"]: (method, path) for method, path, operation in operations(document)}
    assert found == OPERATIONS


def test_every_operation_has_words_for_people(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= known, path


def test_every_refusal_is_declared_as_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        refusals = {status: reply for status, reply in operation["responses"].items() if status >= "400"}
        expected = {"405", "422", "431", "500", "503"}
        expected |= set() if path in ("/livez", "/readyz") else {"401", "403", "421"}
        assert expected <= set(refusals), path
        assert ("400" in refusals) == ("requestBody" in operation) == ("415" in refusals) == ("413" in refusals), path
        assert ("404" in refusals) == ("_id}" in path), path
        for status, reply in refusals.items():
            (media_type,) = reply["content"]
            assert media_type == "application/problem+json", (method, path)
            for example in reply["content"][media_type]["examples"].values():
                assert example["value"]["status"] == int(status)
        assert "Retry-After" in refusals["503"]["headers"]
        assert "Allow" in refusals["405"]["headers"]


def test_bodies_and_replies_have_schemas_and_examples(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        body = operation.get("requestBody")
        if body is not None:
            content = resolved(document, body["content"]["application/json"])
            Draft202012Validator(content["schema"]).validate(content["example"])
        for status, reply in operation["responses"].items():
            for media_type, content in reply.get("content", {}).items():
                schema = resolved(document, content["schema"])
                assert schema, (path, status)
                if status < "300" and media_type == "application/json":
                    for example in schema["examples"]:
                        Draft202012Validator(schema).validate(example)


def test_the_security_scheme_is_declared_where_a_key_is_asked_for(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for _, path, operation in operations(document):
        is_open = path in ("/livez", "/readyz")
        assert operation.get("security", []) == ([] if is_open else [{"ApiKey": []}]), path


def test_every_kind_of_problem_is_declared_somewhere_or_cannot_be(document: dict[str, Any]) -> None:
    declared = set(re.findall(r"/problems/([a-z-]+)", str(document["paths"])))
    of_no_operation = {Kind.BAD_REQUEST, Kind.NOT_FOUND}
    assert declared == {kind.slug for kind in set(Kind) - of_no_operation - {Kind.TOO_MANY_REQUESTS}}


def test_links_lead_from_each_reply_with_a_job_to_what_can_be_done_with_it(document: dict[str, Any]) -> None:
    linked = {"submit_job", "submit_batch", "list_jobs", "show_job", "update_job", "cancel_job", "retry_job"}
    for _, _, operation in operations(document):
        replies = [reply for status, reply in operation["responses"].items() if status < "300"]
        links = {name: link for reply in replies for name, link in reply.get("links", {}).items()}
        assert bool(links) == (operation["operationId"] in linked)
        for name, link in links.items():
            assert link["operationId"] == name
            assert "{job_id}" in OPERATIONS[name][1]


def test_what_is_never_null_is_not_described_as_if_it_could_be(document: dict[str, Any]) -> None:
    change = document["components"]["schemas"]["JobChange"]
    assert "null" not in str(change)
    assert set(change["properties"]) == {"priority", "queue", "run_at", "max_attempts"}


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    resolved(document, document["paths"])


def test_replies_are_as_their_schemas_say(api: Api, document: dict[str, Any]) -> None:
    job_id = api.submit(tags=["a"]).json()["id"]
    calls = {
        f"/v1/jobs/{job_id}": "/v1/jobs/{job_id}",
        f"/v1/jobs/{job_id}/attempts": "/v1/jobs/{job_id}/attempts",
        f"/v1/jobs/{job_id}/logs": "/v1/jobs/{job_id}/logs",
        **{path: path for path in ("/v1/jobs", "/v1/tasks", "/v1/queues", "/v1/workers", "/livez", "/readyz")},
    }
    for path, template in calls.items():
        reply = document["paths"][template]["get"]["responses"]["200"]
        schema = resolved(document, reply["content"]["application/json"]["schema"])
        Draft202012Validator(schema).validate(api.http.get(path).json())
    refused = api.http.get(f"/v1/jobs/{NOBODY}").json()
    Draft202012Validator(resolved(document, document["components"]["schemas"]["Problem"])).validate(refused)


def test_the_document_is_served_and_shown_to_people(api: Api, document: dict[str, Any]) -> None:
    assert api.http.get("/openapi.json").json() == document
    page = api.http.get("/docs").text
    assert all(f"id='{name}'" in page for name in OPERATIONS)

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
    "list_schedules": ("get", "/v1/schedules"),
    "create_schedule": ("post", "/v1/schedules"),
    "show_schedule": ("get", "/v1/schedules/{schedule_id}"),
    "update_schedule": ("patch", "/v1/schedules/{schedule_id}"),
    "delete_schedule": ("delete", "/v1/schedules/{schedule_id}"),
    "preview_schedule": ("get", "/v1/schedules/{schedule_id}/preview"),
    "preview_rule": ("post", "/v1/schedules/preview"),
    "list_fires": ("get", "/v1/schedules/{schedule_id}/fires"),
    "pause_schedule": ("post", "/v1/schedules/{schedule_id}/pause"),
    "resume_schedule": ("post", "/v1/schedules/{schedule_id}/resume"),
    "run_schedule": ("post", "/v1/schedules/{schedule_id}/run"),
    "backfill_schedule": ("post", "/v1/schedules/{schedule_id}/backfill"),
    "list_backfills": ("get", "/v1/schedules/{schedule_id}/backfills"),
    "make_operation": ("post", "/v1/operations"),
    "list_operations": ("get", "/v1/operations"),
    "show_operation": ("get", "/v1/operations/{operation_id}"),
    "abort_operation": ("post", "/v1/operations/{operation_id}/abort"),
    "show_flow": ("get", "/v1/flows/{flow_id}"),
    "cancel_flow": ("post", "/v1/flows/{flow_id}/cancel"),
    "retry_flow": ("post", "/v1/flows/{flow_id}/retry"),
    "explain_job": ("get", "/v1/jobs/{job_id}/why"),
    "list_limits": ("get", "/v1/limits"),
    "set_limit": ("put", "/v1/limits/{key}"),
    "show_limit": ("get", "/v1/limits/{key}"),
    "delete_limit": ("delete", "/v1/limits/{key}"),
    "list_weights": ("get", "/v1/weights"),
    "set_weight": ("put", "/v1/weights/{fair_key}"),
    "delete_weight": ("delete", "/v1/weights/{fair_key}"),
    "list_tasks": ("get", "/v1/tasks"),
    "list_queues": ("get", "/v1/queues"),
    "show_queue": ("get", "/v1/queues/{name}"),
    "pause_queue": ("post", "/v1/queues/{name}/pause"),
    "drain_queue": ("post", "/v1/queues/{name}/drain"),
    "resume_queue": ("post", "/v1/queues/{name}/resume"),
    "purge_queue": ("post", "/v1/queues/{name}/purge"),
    "update_queue": ("patch", "/v1/queues/{name}"),
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
        needs_none = method == "put" or path.startswith("/v1/weights")
        assert ("404" in refusals) == ("{" in path and not needs_none), path
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


def test_links_lead_from_each_reply_to_what_can_be_done_with_what_it_names(document: dict[str, Any]) -> None:
    linked = {"submit_job", "submit_batch", "list_jobs", "show_job", "update_job", "cancel_job", "retry_job"}
    linked |= {"list_schedules", "create_schedule", "show_schedule", "update_schedule"}
    linked |= {"pause_schedule", "resume_schedule", "run_schedule"}
    linked |= {"make_operation", "list_operations", "show_operation", "abort_operation"}
    for _, _, operation in operations(document):
        replies = [reply for status, reply in operation["responses"].items() if status < "300"]
        links = {name: link for reply in replies for name, link in reply.get("links", {}).items()}
        assert bool(links) == (operation["operationId"] in linked)
        for name, link in links.items():
            assert link["operationId"] == name
            (parameter,) = link["parameters"]
            assert f"{{{parameter}}}" in OPERATIONS[name][1]


def test_what_is_never_null_is_not_described_as_if_it_could_be(document: dict[str, Any]) -> None:
    change = document["components"]["schemas"]["JobChange"]
    assert "null" not in str(change)
    assert set(change["properties"]) == {"priority", "queue", "run_at", "max_attempts"}
    members = document["components"]["schemas"]["ScheduleChange"]["properties"]
    nullable = {name for name, member in members.items() if "null" in str(member)}
    assert nullable == {"cron", "interval", "times", "starts_at", "ends_at"}
    for name in ("OperationRequest", "OperationFilter", "OperationChange"):
        assert "null" not in str(document["components"]["schemas"][name])


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    resolved(document, document["paths"])


def test_replies_are_as_their_schemas_say(api: Api, document: dict[str, Any]) -> None:
    job_id = api.submit(tags=["a"]).json()["id"]
    schedule = {"name": "s", "task": "add", "args": {"a": 1, "b": 2}, "cron": "@daily"}
    schedule_id = api.http.post("/v1/schedules", json=schedule).json()["id"]
    api.http.post(f"/v1/schedules/{schedule_id}/run")
    past = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-03T00:00:00Z"}
    api.http.post(f"/v1/schedules/{schedule_id}/backfill", json=past)
    operation = api.http.post("/v1/operations", json={"action": "cancel", "filter": {"tag": "a"}}).json()
    calls = {
        f"/v1/schedules/{schedule_id}{more}": f"/v1/schedules/{{schedule_id}}{more}"
        for more in ("", "/preview", "/fires", "/backfills")
    }
    calls |= {
        "/v1/schedules": "/v1/schedules",
        f"/v1/operations/{operation['id']}": "/v1/operations/{operation_id}",
        "/v1/operations": "/v1/operations",
        f"/v1/jobs/{job_id}": "/v1/jobs/{job_id}",
        f"/v1/jobs/{job_id}/attempts": "/v1/jobs/{job_id}/attempts",
        f"/v1/jobs/{job_id}/logs": "/v1/jobs/{job_id}/logs",
        "/v1/queues/default": "/v1/queues/{name}",
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

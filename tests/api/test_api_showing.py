"""A single job over HTTP: its members, its version, its attempts and its log."""

from dataclasses import replace
from uuid import UUID

import pytest
from running_api import NOBODY, Api, kind

from playground import Playground, end
from steeple.domain.priority import Binding
from steeple.domain.states import State
from steeple.store import transitions
from steeple.store.reports import NewLine, Progress, store_lines, store_progress


@pytest.mark.parametrize("path", ["", "/attempts", "/logs"])
def test_no_such_job_is_404(api: Api, path: str) -> None:
    assert kind(api.http.get(f"/v1/jobs/{NOBODY}{path}")) == (404, "job-not-found")


def test_ids_are_read_in_either_case(api: Api) -> None:
    job = api.submit().json()
    assert api.http.get(f"/v1/jobs/{job['id'].upper()}").json() == job


def test_other_spellings_of_an_id_name_no_job(api: Api) -> None:
    job_id = api.submit().json()["id"]
    for spelling in (job_id.replace("-", ""), f"{{{job_id}}}", f"urn:uuid:{job_id}", f"{job_id} "):
        assert kind(api.http.get(f"/v1/jobs/{spelling}")) == (404, "job-not-found")


def test_a_running_job_shows_worker_progress_and_times(api: Api, playground: Playground) -> None:
    job = playground.running(playground.worker("w-7"), now=None)
    with playground.engine.begin() as connection:
        store_progress(connection, [Progress(job.id, job.fence, '{"fraction": 0.50}')])
    shown = api.http.get(f"/v1/jobs/{job.id}")
    assert '"progress":{"fraction": 0.50}' in shown.text
    assert (shown.json()["state"], shown.json()["worker"], shown.json()["attempt"]) == ("RUNNING", "w-7", 1)
    assert shown.json()["started_at"] is not None


def test_a_failed_job_shows_its_error(api: Api, playground: Playground) -> None:
    job = playground.ended(State.FAILED, now=None)
    expected = {"type": "ValueError", "message": "no", "traceback": "Traceback", "reason": "exception"}
    assert api.job(job.id)["error"] == expected


def test_the_etag_changes_with_the_job_and_only_then(api: Api, playground: Playground) -> None:
    job_id = api.submit().json()["id"]
    path = f"/v1/jobs/{job_id}"
    tag = api.http.get(path).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = api.http.get(path, headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", tag)
    api.http.patch(path, json={"priority": "high"})
    changed = api.http.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["priority"]) == (200, "high")
    assert changed.headers["ETag"] != tag


def test_head_is_get_without_its_body(api: Api) -> None:
    path = api.submit().headers["Location"]
    got, head = api.http.get(path), api.http.head(path)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", got.headers["ETag"])
    assert head.headers["Content-Length"] == str(len(got.content))


def test_attempts_are_those_that_failed_and_the_one_that_counts(api: Api, playground: Playground) -> None:
    claimant = playground.worker("w-1")
    job = playground.running(claimant, now=None)
    playground.finish(claimant, end(job, State.PENDING, retry_in=0.0), now=None)
    bound = replace(claimant, binding=Binding(queues=("default",)))
    (again,) = playground.claim(bound, now=None)
    running = api.http.get(f"/v1/jobs/{job.id}/attempts").json()["attempts"]
    assert [(each["attempt"], each["state"], each["worker"]) for each in running] == [
        (1, "FAILED", "w-1"),
        (2, "RUNNING", "w-1"),
    ]
    assert running[0]["error"]["reason"] == "exception"
    assert running[0]["fence"] < running[1]["fence"]
    assert (running[1]["error"], running[1]["finished_at"]) == (None, None)
    playground.finish(claimant, end(again, State.SUCCESS), now=None)
    ended = api.http.get(f"/v1/jobs/{job.id}/attempts").json()["attempts"]
    assert [each["state"] for each in ended] == ["FAILED", "SUCCESS"]
    assert all(each["started_at"] and each["finished_at"] for each in ended)


def test_attempts_before_an_explicit_retry_are_kept(api: Api, playground: Playground) -> None:
    job = playground.ended(State.SUCCESS, now=None)
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id)
    attempts = api.http.get(f"/v1/jobs/{job.id}/attempts").json()["attempts"]
    assert [(each["attempt"], each["state"]) for each in attempts] == [(1, "SUCCESS")]


def test_a_job_that_never_ran_has_no_attempts(api: Api) -> None:
    assert api.http.get(f"/v1/jobs/{api.submit().json()['id']}/attempts").json() == {"attempts": []}


def write(playground: Playground, job_id: UUID, count: int) -> None:
    lines = [NewLine(job_id, 1, 0.0, f"line {number} \u00fc", f'{{"number": {number}}}') for number in range(count)]
    with playground.engine.begin() as connection:
        store_lines(connection, lines)


def test_log_lines_come_in_order_and_in_parts(api: Api, playground: Playground) -> None:
    job_id = playground.add()
    write(playground, job_id, 5)
    write(playground, playground.add(), 1)
    path = f"/v1/jobs/{job_id}/logs"
    first = api.http.get(path, params={"limit": 3}).json()["logs"]
    rest = api.http.get(path, params={"after": first[-1]["id"]}).json()["logs"]
    assert [line["fields"]["number"] for line in first + rest] == [0, 1, 2, 3, 4]
    assert set(first[0]) == {"id", "at", "attempt", "message", "fields"}
    assert (first[0]["message"], first[0]["attempt"]) == ("line 0 ü", 1)


def test_more_log_lines_than_the_most_are_cut(api: Api, playground: Playground) -> None:
    job_id = playground.add()
    write(playground, job_id, 1001)
    assert len(api.http.get(f"/v1/jobs/{job_id}/logs", params={"limit": 9999}).json()["logs"]) == 1000

"""The list of jobs: filters, order and pages. How it is found is tested in tests/store/test_listing.py."""

from datetime import timedelta
from typing import Any

import pytest
from running_api import Api

from playground import NOW, Playground, at
from steeple.domain.priority import Priority
from steeple.domain.states import State


def ids(api: Api, **filters: Any) -> list[str]:
    reply = api.http.get("/v1/jobs", params=filters)
    assert reply.status_code == 200, reply.text
    return [job["id"] for job in reply.json()["jobs"]]


def test_an_empty_list_has_no_next_page(api: Api) -> None:
    assert api.http.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}


def test_the_newest_job_comes_first_with_all_its_members(api: Api) -> None:
    first, second = api.submit().json(), api.submit().json()
    assert api.http.get("/v1/jobs").json() == {"jobs": [second, first], "next_cursor": None}


def test_pages_follow_each_other_without_gap_or_repeat(api: Api, playground: Playground) -> None:
    wanted = [str(job_id) for job_id in reversed(playground.add_many(25))]
    found: list[str] = []
    cursor: dict[str, str] = {}
    sizes = []
    while True:
        page = api.http.get("/v1/jobs", params={"limit": 10, **cursor}).json()
        found += [job["id"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        playground.add()  # a newer one does not move what comes after the cursor
    assert found == wanted
    assert sizes == [10, 10, 5]


def test_a_page_that_ends_with_the_last_job_is_the_last(api: Api, playground: Playground) -> None:
    playground.add_many(10)
    assert api.http.get("/v1/jobs", params={"limit": 10}).json()["next_cursor"] is None


def test_limits_are_coerced_to_the_largest(api: Api, playground: Playground) -> None:
    playground.add_many(1001)
    assert len(ids(api, limit=1_000_000)) == 1000
    assert len(ids(api)) == 50


def test_each_filter_finds_its_own(api: Api, playground: Playground) -> None:
    made = {
        "task": playground.add(task="t1", queue="q0"),
        "queue": playground.add(queue="q1"),
        "priority": playground.add(queue="q0", priority=Priority.LOW),
        "tag": playground.add(queue="q0", tags=("a", "b")),
        "state": playground.ended(State.FAILED).id,
    }
    values = {"task": "t1", "queue": "q1", "priority": "low", "tag": "b", "state": "FAILED"}
    for name, value in values.items():
        assert ids(api, **{name: value}) == [str(made[name])], name
        assert ids(api, **{name: value}, limit=1) == [str(made[name])]


def test_several_values_of_a_filter_match_any_and_several_filters_all(api: Api, playground: Playground) -> None:
    one = str(playground.add(queue="a", task="x"))
    two = str(playground.add(queue="b", task="x"))
    playground.add(queue="c", task="x")
    playground.add(queue="a", task="y")
    assert ids(api, queue=["a", "b"], task="x") == [two, one]
    assert ids(api, queue=["a", "b"], task=["x", "z"], state=["PENDING", "FAILED"]) == [two, one]
    assert ids(api, queue="a", task="x", state="RUNNING") == []


@pytest.mark.parametrize("state", State)
def test_each_state_is_found(api: Api, playground: Playground, state: State) -> None:
    everyone = {
        State.SUCCESS: playground.ended(State.SUCCESS).id,
        State.FAILED: playground.ended(State.FAILED).id,
        State.CANCELLED: playground.ended(State.CANCELLED).id,
        State.RUNNING: playground.running(queue="r").id,
        State.PENDING: playground.add(queue="p"),
    }
    assert ids(api, state=state.value) == [str(everyone[state])]
    others = [each for each in State if each is not state]
    assert set(ids(api, state=[each.value for each in others])) == {str(everyone[each]) for each in others}


def test_times_of_creation_bound_the_list(api: Api, playground: Playground) -> None:
    early, late = (str(playground.add(now=moment)) for moment in (NOW, at(60)))
    playground.sql("UPDATE jobs SET created_at = now() - interval '60 s' WHERE id = :id", id=early)
    playground.sql("UPDATE jobs SET created_at = now() WHERE id = :id", id=late)
    middle = playground.value("SELECT created_at FROM jobs WHERE id = :id", id=late)
    assert ids(api, created_after=middle.isoformat()) == [late]
    assert ids(api, created_before=middle.isoformat()) == [early]
    assert ids(api, created_after=(middle + timedelta(seconds=1)).isoformat()) == []
    assert ids(api, created_after="0001-01-01T00:00:00Z", created_before="9999-12-31T00:00:00Z") == [late, early]
    assert ids(api, created_before="0001-01-01T00:00:00Z") == []


def test_q_looks_into_task_tags_unique_key_id_and_error(api: Api, playground: Playground) -> None:
    by_task = str(playground.add(task="reports.Render"))
    by_tag = str(playground.add(tags=("customer:render",)))
    by_key = str(playground.add(unique_key="RENDER:1"))
    failed = playground.ended(State.FAILED, queue="f")
    error = '{"type": "E", "message": "cannot render it", "reason": "exception"}'
    playground.sql("UPDATE jobs SET error = CAST(:error AS json) WHERE id = :id", id=failed.id, error=error)
    playground.add(task="other", queue="render")
    assert ids(api, q="render") == [str(failed.id), by_key, by_tag, by_task]
    assert ids(api, q=by_tag) == [by_tag]
    assert ids(api, q=by_tag[:35]) == [by_tag]
    assert ids(api, q=by_tag[:35].upper()) == [by_tag]


@pytest.mark.parametrize("q", ["100%", "a_c", "back\\slash", "'; DROP TABLE jobs; --", "ü"])
def test_q_is_taken_literally(api: Api, playground: Playground, q: str) -> None:
    found = str(playground.add(tags=(f"x{q}x",)))
    playground.add(tags=("abc", "100 of them", "backslash"))
    assert ids(api, q=q) == [found]


def test_a_page_is_cut_where_it_would_become_too_large(api: Api, playground: Playground) -> None:
    made = playground.add_many(50, args=f'{{"value": "{"x" * 250_000}"}}')
    playground.sql("UPDATE jobs SET result = args")
    page = api.http.get("/v1/jobs").json()
    assert 0 < len(page["jobs"]) < 50
    found = [job["id"] for job in page["jobs"]]
    while page["next_cursor"] is not None:
        page = api.http.get("/v1/jobs", params={"cursor": page["next_cursor"]}).json()
        found += [job["id"] for job in page["jobs"]]
    assert found == [str(job_id) for job_id in reversed(made)]

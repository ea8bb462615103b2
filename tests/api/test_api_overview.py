"""What there is around the jobs: tasks, queues, workers, probes, metrics."""

from datetime import datetime

import pytest
import redis
from running_api import Api, make_app, running

from playground import Playground
from steeple import Settings
from steeple.domain.priority import Binding, Priority
from steeple.domain.states import State
from steeple.embedded.valkey import EmbeddedValkey


def test_tasks_are_listed_with_the_schema_of_their_arguments(api: Api) -> None:
    tasks = {task["name"]: task for task in api.http.get("/v1/tasks").json()["tasks"]}
    assert list(tasks) == ["add", "anything", "echo", "when"]
    assert tasks["add"]["description"] == "Add two numbers."
    assert set(tasks["add"]["schema"]["required"]) == {"a", "b"}
    assert tasks["when"]["schema"]["properties"]["day"]["format"] == "date"
    assert {name: tasks["echo"][name] for name in ("queue", "priority", "timeout", "is_async", "retry")} == {
        "queue": "echoes",
        "priority": "low",
        "timeout": 7.5,
        "is_async": False,
        "retry": {"max_attempts": 3, "initial": 1.0, "factor": 2.0, "cap": 600.0},
    }


def test_the_apps_own_tasks_stand_beside_those_that_workers_registered(
    shared_database_url: str, playground: Playground
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings, make_app(settings)):
        playground.sql("INSERT INTO tasks SELECT 'theirs', '', schema, 'q', 0, 1, retry, true FROM tasks LIMIT 1")
        playground.sql("UPDATE tasks SET queue = 'stale' WHERE name = 'echo'")
        with running(settings, make_app(settings)) as api:
            playground.sql("UPDATE tasks SET queue = 'stale' WHERE name = 'echo'")
            tasks = {task["name"]: task["queue"] for task in api.http.get("/v1/tasks").json()["tasks"]}
    assert tasks == {"add": "default", "anything": "default", "echo": "echoes", "theirs": "q", "when": "default"}


def test_queues_count_their_jobs(api: Api, playground: Playground) -> None:
    playground.ended(State.SUCCESS, now=None, queue="a")
    playground.ended(State.FAILED, now=None, queue="a")
    playground.running(now=None, queue="b")
    playground.add(now=None, queue="b")
    playground.sql("UPDATE jobs SET run_at = now() - interval '5 s' WHERE state = 'PENDING'")
    queues = {queue["name"]: queue for queue in api.http.get("/v1/queues").json()["queues"]}
    assert queues["a"]["counts"] == {"PENDING": 0, "RUNNING": 0, "SUCCESS": 1, "FAILED": 1, "CANCELLED": 0}
    assert queues["b"]["counts"] == {"PENDING": 1, "RUNNING": 1, "SUCCESS": 0, "FAILED": 0, "CANCELLED": 0}
    assert (queues["a"]["oldest_wait"], queues["a"]["paused"]) == (None, False)
    assert queues["b"]["oldest_wait"] >= 5
    assert queues["a"]["throughput"] == pytest.approx(2 / 60)


def test_workers_are_shown_with_what_they_run(api: Api, playground: Playground) -> None:
    job = playground.running(playground.worker("w-1", slots=3), now=None, task="busy")
    bound = Binding(queues=("a", "b"), priorities=(Priority.HIGH,))
    playground.worker("w-2", binding=bound)
    playground.sql("UPDATE workers SET draining = true WHERE name = 'w-2'")
    playground.worker("gone")
    playground.sql("UPDATE workers SET heartbeat_at = now() - interval '1 h' WHERE name = 'gone'")
    one, two = api.http.get("/v1/workers").json()["workers"]
    assert (one["name"], one["slots"], one["queues"], one["draining"]) == ("w-1", 3, None, False)
    assert one["priorities"] == ["high", "default", "low"]
    assert one["lanes"] == [{"queue": None, "priority": priority} for priority in ("high", "default", "low")]
    assert [(each["id"], each["task"]) for each in one["running"]] == [(str(job.id), "busy")]
    assert 0 <= one["silence"] < 20
    assert datetime.fromisoformat(one["heartbeat_at"]) >= datetime.fromisoformat(one["started_at"])
    assert (two["name"], two["queues"], two["running"], two["draining"]) == ("w-2", ["a", "b"], [], True)
    assert two["lanes"] == [{"queue": "a", "priority": "high"}, {"queue": "b", "priority": "high"}]


def test_metrics_are_in_prometheus_text_format(api: Api, playground: Playground) -> None:
    playground.add_many(3, queue="m")
    reply = api.http.get("/metrics", params={"anything": "goes"})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'queue="m"' in reply.text
    assert reply.text.endswith("\n")


def test_a_probe_may_have_a_query(api: Api) -> None:
    assert api.http.get("/livez?verbose").json() == {"status": "alive"}
    assert api.http.head("/livez").status_code == 200
    assert api.http.head("/readyz").status_code == 200


def test_the_broker_is_reported_and_not_required(
    shared_database_url: str, broker_url: str, playground: Playground
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=broker_url)
    with running(settings) as api:
        assert api.http.get("/readyz").json()["broker"] == "ok"
    settings = Settings(database_url=shared_database_url, broker_url="redis://127.0.0.1:1/0")
    with running(settings, make_app(settings)) as api:
        ready = api.http.get("/readyz")
        assert (ready.status_code, ready.json()["broker"]) == (200, "unreachable")
        assert api.submit().status_code == 202


def test_a_submit_wakes_a_live_worker(
    shared_database_url: str, broker_url: str, valkey: EmbeddedValkey, playground: Playground
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=broker_url)
    playground.worker(slots=2)
    with running(settings, make_app(settings)) as api:
        assert api.submit(priority="high").status_code == 202
    number = int(broker_url.rpartition("=")[2])
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=number) as broker:
        assert broker.llen("steeple.*.high") == 2  # one after the commit and, as it was quiet, one ahead of it

"""Limits by key and weights of fair keys over HTTP."""

from typing import Any

import pytest
from running_api import Api, kind, pointers

from playground import Playground


def put(api: Api, path: str, **members: Any) -> Any:
    return api.http.put(f"/v1/{path}", json=members)


def test_a_limit_is_set_shown_listed_and_deleted(api: Api) -> None:
    reply = put(api, "limits/customer:42", max_running=3, rate={"count": 5, "period": 60})
    shown = {"key": "customer:42", "max_running": 3, "rate": {"count": 5, "period": 60.0, "burst": None}}
    assert (reply.status_code, reply.json()) == (200, shown | {"running": 0, "waiting": 0})
    assert api.http.get("/v1/limits/customer:42").json() == reply.json()
    assert api.http.get("/v1/limits").json() == {"limits": [reply.json()], "next_cursor": None}
    assert api.http.delete("/v1/limits/customer:42").status_code == 204
    assert kind(api.http.get("/v1/limits/customer:42")) == (404, "limit-not-found")
    assert kind(api.http.delete("/v1/limits/customer:42")) == (404, "limit-not-found")


def test_a_limit_takes_the_place_of_the_former(api: Api) -> None:
    put(api, "limits/k", max_running=3, rate={"count": 5, "period": 60, "burst": 9})
    reply = put(api, "limits/k", max_running=0)
    assert (reply.json()["max_running"], reply.json()["rate"]) == (0, None)


@pytest.mark.parametrize("key", ["a b", "ä/ö", "100%", "x?y#z", "*", "a*b"])
def test_a_key_may_be_any_text(api: Api, key: str) -> None:
    from urllib.parse import quote

    path = f"limits/{quote(key, safe='')}"
    assert put(api, path, max_running=1).json()["key"] == key
    assert api.http.get(f"/v1/{path}").json()["key"] == key


@pytest.mark.parametrize(
    ("members", "at"),
    [
        ({}, [""]),
        ({"max_running": -1}, ["/max_running"]),
        ({"max_running": "3"}, ["/max_running"]),
        ({"rate": {"count": 0, "period": 1}}, ["/rate/count"]),
        ({"rate": {"count": 1, "period": 0}}, ["/rate/period"]),
        ({"rate": {"count": 1}}, ["/rate/period"]),
        ({"rate": {"count": 1, "period": 1, "burst": 0}}, ["/rate/burst"]),
        ({"max_running": 1, "most": 2}, ["/most"]),
    ],
)
def test_a_limit_that_is_none_is_refused_and_it_is_said_where(api: Api, members: dict[str, Any], at: list[str]) -> None:
    reply = put(api, "limits/k", **members)
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == at


def test_limits_come_in_pages(api: Api) -> None:
    for number in range(5):
        put(api, f"limits/k{number}", max_running=number)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while query:
        page = api.http.get("/v1/limits", params=query).json()
        found += [limit["key"] for limit in page["limits"]]
        query = {"limit": 2, "cursor": page["next_cursor"]} if page["next_cursor"] else {}
    assert found == [f"k{number}" for number in range(5)]


def test_weights_are_set_listed_and_deleted(api: Api) -> None:
    assert put(api, "weights/customer:42", weight=2.5).json() == {"fair_key": "customer:42", "weight": 2.5}
    put(api, "weights/customer:42", weight=3)
    assert api.http.get("/v1/weights").json()["weights"] == [{"fair_key": "customer:42", "weight": 3.0}]
    assert api.http.delete("/v1/weights/customer:42").status_code == 204
    assert api.http.get("/v1/weights").json()["weights"] == []
    assert pointers(put(api, "weights/customer:42", weight=0)) == ["/weight"]


def test_a_job_shows_the_keys_that_it_names(api: Api, playground: Playground) -> None:
    reply = api.submit("add", limits=["b", "a", "b"], fair_key="tenant")
    assert (reply.json()["limits"], reply.json()["fair_key"]) == (["a", "b"], "tenant")
    shown = api.job(reply.json()["id"])
    assert (shown["limits"], shown["fair_key"]) == (["a", "b"], "tenant")


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({"limits": ["a*"]}, ["/limits/0"]),
        ({"limits": [""]}, ["/limits/0"]),
        ({"limits": ["k"] * 17}, ["/limits"]),
        ({"fair_key": ""}, ["/fair_key"]),
        ({"fair_key": "x" * 256}, ["/fair_key"]),
    ],
)
def test_keys_that_cannot_be_are_refused(api: Api, options: dict[str, Any], at: list[str]) -> None:
    assert pointers(api.submit("t", **options)) == at

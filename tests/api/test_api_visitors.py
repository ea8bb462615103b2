"""Before the first key: programs on this machine may call, and pages that a browser shows there may not."""

from collections.abc import Mapping

import pytest
from running_api import Api, kind

from playground import Playground
from steeple.store.keys import Scope, create_key

LOCAL = ["localhost", "localhost:8080", "LOCALHOST:1", "localhost.:80", "127.0.0.1", "127.0.0.1:99", "127.8.8.8:8080"]
LOCAL += ["[::1]", "[::1]:8080"]
FOREIGN = ["evil.example", "evil.example:8080", "10.0.0.7", "[2001:db8::1]:80", "localhost.evil.example"]
FOREIGN += [
    "127.0.0.1.evil.example",
    "evil.example@localhost.evil",
    "[::1",
    "",
    "0.0.0.0:8080",
    "xn--localhost-",
    ":8080",
]
SERVED = {200, 202}

CANCEL = "/v1/jobs/{job_id}/cancel"


def get(api: Api, host: str, path: str = "/v1/jobs", **headers: str) -> tuple[int, str]:
    reply = api.http.get(path, headers={"Host": host, **headers})
    return kind(reply) if reply.status_code >= 400 else (reply.status_code, "")


@pytest.mark.parametrize("host", LOCAL)
def test_names_of_this_machine_are_answered(api: Api, host: str) -> None:
    assert get(api, host) == (200, "")


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_421(api: Api, playground: Playground, host: str) -> None:
    """As when a page has its own name lead to 127.0.0.1."""
    assert get(api, host) == (421, "misdirected")
    body = {"task": "add", "args": {"a": 1, "b": 2}}
    assert kind(api.http.post("/v1/jobs", json=body, headers={"Host": host})) == (421, "misdirected")
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_the_refusal_says_what_to_do(api: Api) -> None:
    problem = api.http.get("/v1/jobs", headers={"Host": "evil.example"}).json()
    assert "'evil.example'" in problem["detail"]
    assert "steeple keys create" in problem["detail"]
    assert problem["errors"] == [{"pointer": "/Host", "detail": "is not of this machine", "in": "header"}]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json", "/", "/problems/misdirected"])
def test_probes_and_pages_are_served_under_any_name(api: Api, path: str) -> None:
    assert get(api, "evil.example", path) == (200, "")


def test_with_keys_any_name_will_do(api: Api, playground: Playground) -> None:
    """Proxies and containers call by names of their own; what keeps strangers out is the key."""
    with playground.engine.begin() as connection:
        key = create_key(connection, "proxy", [Scope.ADMIN]).key
    authorized = {"Authorization": f"Bearer {key}"}
    assert get(api, "steeple.example.org", **authorized) == (200, "")
    foreign = {"Host": "steeple.example.org", "Origin": "https://app.example.org", "Sec-Fetch-Site": "cross-site"}
    body = {"task": "add", "args": {"a": 1, "b": 2}}
    assert api.http.post("/v1/jobs", json=body, headers=foreign | authorized).status_code == 202


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8080"},
    {"Sec-Fetch-Site": "who knows"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
]
OWN_SITE: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost:8080"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_a_page_of_another_site_changes_nothing(api: Api, playground: Playground, headers: Mapping[str, str]) -> None:
    job_id = playground.add(now=None)
    for path, content in (
        (f"/v1/jobs/{job_id}/cancel", b""),
        ("/v1/jobs", b'{"task": "add", "args": {"a": 1, "b": 2}}'),
    ):
        sent = {"Host": "localhost:8080", "Content-Type": "application/json", **headers}
        assert kind(api.http.post(path, content=content, headers=sent)) == (403, "cross-site")
    assert [row.state for row in playground.sql("SELECT state FROM jobs")] == ["PENDING"]


@pytest.mark.parametrize("headers", OWN_SITE)
def test_own_pages_and_programs_may_change_things(api: Api, playground: Playground, headers: Mapping[str, str]) -> None:
    job_id = playground.add(now=None)
    reply = api.http.post(f"/v1/jobs/{job_id}/cancel", headers={"Host": "localhost:8080", **headers})
    assert reply.status_code == 202


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_a_link_on_another_site_may_be_followed(api: Api, headers: Mapping[str, str]) -> None:
    assert get(api, "localhost:8080", **headers) == (200, "")

"""API keys: who may call what, and how soon a change is felt."""

from collections.abc import Iterator
from time import monotonic
from uuid import UUID

import httpx2
import pytest
from running_api import NOBODY, Api, kind, make_app, running

from playground import Playground
from steeple import Settings
from steeple.errors import ConfigurationError
from steeple.store.keys import NewKey, Scope, adopt_key, create_key, revoke_key

READING = [
    "/v1/jobs",
    f"/v1/jobs/{NOBODY}",
    f"/v1/jobs/{NOBODY}/attempts",
    f"/v1/jobs/{NOBODY}/logs",
    "/v1/tasks",
    "/v1/queues",
    "/v1/workers",
    "/metrics",
]
WRITING = [
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs/batch"),
    ("POST", f"/v1/jobs/{NOBODY}/cancel"),
    ("POST", f"/v1/jobs/{NOBODY}/retry"),
    ("PATCH", f"/v1/jobs/{NOBODY}"),
]
OPEN = ["/livez", "/readyz", "/docs", "/openapi.json", "/", "/problems", "/problems/unauthorized"]


def make_key(playground: Playground, *scopes: Scope) -> NewKey:
    with playground.engine.begin() as connection:
        return create_key(connection, "test", scopes)


def revoke(playground: Playground, key_id: UUID) -> None:
    with playground.engine.begin() as connection:
        assert revoke_key(connection, key_id)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def fresh(shared_database_url: str, playground: Playground) -> Iterator[Api]:
    """A server that remembers no key of another test."""
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings, make_app(settings)) as api:
        yield api


def within(seconds: float, call: object, status: int) -> float:
    """How long it took until a call was answered so."""
    assert callable(call)
    began = monotonic()
    while (found := call().status_code) != status:
        assert monotonic() - began < seconds, found
    return monotonic() - began


def test_on_loopback_it_is_open_until_the_first_key_is_made(fresh: Api, playground: Playground) -> None:
    assert fresh.http.get("/v1/jobs").status_code == 200
    assert fresh.submit().status_code == 202
    assert fresh.http.get("/v1/jobs", headers=bearer("stpl_of_another_time")).status_code == 200
    key = make_key(playground, Scope.READ)
    within(5, lambda: fresh.http.get("/v1/jobs"), 401)
    assert fresh.http.get("/v1/jobs", headers=bearer(key.key)).status_code == 200


def test_once_a_key_was_made_it_never_opens_again(fresh: Api, playground: Playground) -> None:
    revoke(playground, make_key(playground, Scope.ADMIN).id)
    assert kind(fresh.http.get("/v1/jobs")) == (401, "unauthorized")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org"])
def test_elsewhere_than_on_loopback_a_key_is_always_needed(
    shared_database_url: str, playground: Playground, host: str
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None, host=host)
    with pytest.raises(ConfigurationError, match="steeple keys create"), running(settings):
        pass
    revoke(playground, make_key(playground, Scope.ADMIN).id)
    with pytest.raises(ConfigurationError, match="API key"), running(settings):
        pass


def test_every_refusal_of_a_key_reads_the_same(fresh: Api, playground: Playground) -> None:
    revoked = make_key(playground, Scope.ADMIN)
    revoke(playground, revoked.id)
    make_key(playground, Scope.READ)
    headers = [
        {},
        bearer("stpl_unknown"),
        bearer(revoked.key),
        {"Authorization": "Bearer"},
        {"Authorization": revoked.key},
        {"Authorization": f"Basic {revoked.key}"},
        bearer("x" * 5000),
        bearer("stpl_" + "9" * 43),
    ]
    replies = [fresh.http.get("/v1/jobs", headers=each | {"X-Request-ID": "same"}) for each in headers]
    assert {kind(reply) for reply in replies} == {(401, "unauthorized")}
    assert {reply.headers["WWW-Authenticate"] for reply in replies} == {"Bearer"}
    assert len({reply.content for reply in replies}) == 1
    assert not any(key in replies[0].text for key in ("stpl_", revoked.key))


@pytest.mark.parametrize("scopes", [[Scope.READ], [Scope.WRITE], [Scope.ADMIN], [Scope.READ, Scope.WRITE], []])
def test_scopes_include_those_before_them(fresh: Api, playground: Playground, scopes: list[Scope]) -> None:
    http, headers = fresh.http, bearer(make_key(playground, *scopes).key)
    for path in READING:
        expected = {200, 404} if scopes else {403}
        assert http.get(path, headers=headers).status_code in expected, path
    may_write = bool({Scope.WRITE, Scope.ADMIN} & set(scopes))
    for method, path in WRITING:
        reply = http.request(method, path, json={}, headers=headers)
        if may_write:
            assert reply.status_code in {404, 422}, path
        else:
            assert kind(reply) == (403, "forbidden"), path


def test_nothing_but_pages_and_probes_is_open(fresh: Api, playground: Playground) -> None:
    make_key(playground, Scope.READ)
    for path in OPEN:
        assert fresh.http.get(path).status_code == 200, path
    for path in READING:
        assert fresh.http.get(path).status_code == 401, path
    for method, path in WRITING:
        assert fresh.http.request(method, path, json={}).status_code == 401, path


def test_a_revoked_key_is_refused_within_about_a_second(fresh: Api, playground: Playground) -> None:
    key = make_key(playground, Scope.WRITE)

    def call() -> httpx2.Response:
        return fresh.http.get("/v1/jobs", headers=bearer(key.key))

    assert call().status_code == 200
    revoke(playground, key.id)
    assert within(5, call, 401) < 3


def test_a_new_key_is_good_within_about_a_second_even_if_it_was_tried_before(
    fresh: Api, playground: Playground
) -> None:
    make_key(playground, Scope.READ)
    key = "stpl_chosen_by_the_deployment"
    assert fresh.http.get("/v1/jobs", headers=bearer(key)).status_code == 401
    with playground.engine.begin() as connection:
        adopt_key(connection, key, "late")
    assert within(5, lambda: fresh.http.get("/v1/jobs", headers=bearer(key)), 200) < 3


def test_a_key_is_looked_up_once_a_second_however_many_requests_come(fresh: Api, playground: Playground) -> None:
    key = make_key(playground, Scope.READ)
    looked_up: list[str] = []
    find = fresh.services.keyring._find

    async def count(sought: str) -> object:
        looked_up.append(sought)
        return await find(sought)

    fresh.services.keyring._find = count  # type: ignore[method-assign, assignment]
    began = monotonic()
    for _ in range(100):
        assert fresh.http.get("/v1/tasks", headers=bearer(key.key)).status_code == 200
    assert len(looked_up) <= monotonic() - began + 1


def test_keys_that_are_guessed_do_not_fill_the_memory(
    fresh: Api, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.api.keyring._MOST_REMEMBERED", 10)
    make_key(playground, Scope.READ)
    for number in range(25):
        assert fresh.http.get("/v1/tasks", headers=bearer(f"stpl_{number}")).status_code == 401
        assert len(fresh.services.keyring._callers) <= 10


def test_the_use_of_a_key_is_noted(fresh: Api, playground: Playground) -> None:
    key = make_key(playground, Scope.READ)
    fresh.http.get("/v1/tasks", headers=bearer(key.key))
    assert playground.value("SELECT last_used_at IS NOT NULL FROM api_keys")


def test_the_key_of_the_deployment_is_adopted(shared_database_url: str, playground: Playground) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None, bootstrap_api_key="stpl_" + "k" * 40)
    with running(settings) as api:
        assert api.http.get("/v1/jobs").status_code == 401
        assert api.http.get("/v1/jobs", headers=bearer("stpl_" + "k" * 40)).status_code == 200
    with running(settings):
        pass
    assert playground.value("SELECT count(*) FROM api_keys") == 1


@pytest.mark.parametrize("key", ["short", "x" * 600, "with a space in it, which no header takes", "é" * 30])
def test_a_key_of_the_deployment_that_cannot_be_used_is_refused(
    shared_database_url: str, playground: Playground, key: str
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None, bootstrap_api_key=key)
    with pytest.raises(ConfigurationError, match="STEEPLE_BOOTSTRAP_API_KEY") as refused, running(settings):
        pass
    assert key not in str(refused.value)

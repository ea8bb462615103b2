"""API keys: shown once, stored as a hash, found by it until they are revoked."""

import pytest
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from playground import Playground
from steeple.store import keys
from steeple.store.keys import KEY_PREFIX, ApiKey, KeyCensus, NewKey, Scope


def create(playground: Playground, name: str = "ci", scopes: tuple[Scope, ...] = (Scope.READ,)) -> NewKey:
    with playground.engine.begin() as connection:
        return keys.create_key(connection, name, scopes)


def find(playground: Playground, key: str) -> ApiKey | None:
    with playground.engine.begin() as connection:
        return keys.find_key(connection, key)


def census(playground: Playground) -> KeyCensus:
    with playground.engine.begin() as connection:
        return keys.census(connection)


def test_a_key_is_found_by_itself(playground: Playground) -> None:
    new = create(playground, scopes=(Scope.READ, Scope.WRITE))
    found = find(playground, new.key)
    assert found is not None
    assert (found.id, found.name, found.scopes) == (new.id, "ci", (Scope.READ, Scope.WRITE))
    assert new.key.startswith(KEY_PREFIX)
    assert new.key.startswith(found.prefix)


@pytest.mark.parametrize("wrong", ["", "stpl_", "stpl_wrong", "ü", "x" * 10_000])
def test_another_key_is_not_found(playground: Playground, wrong: str) -> None:
    create(playground)
    assert find(playground, wrong) is None


def test_two_keys_are_never_the_same(playground: Playground) -> None:
    assert create(playground).key != create(playground).key


def test_the_key_itself_is_stored_nowhere(playground: Playground) -> None:
    new = create(playground)
    row = playground.value("SELECT CAST(api_keys AS text) FROM api_keys")
    assert new.key.removeprefix(KEY_PREFIX)[6:] not in row


def test_a_revoked_key_is_not_found(playground: Playground) -> None:
    new = create(playground)
    with playground.engine.begin() as connection:
        assert [keys.revoke_key(connection, key_id) for key_id in (new.id, new.id, uuid7())] == [True, False, False]
    assert find(playground, new.key) is None


def test_keys_are_listed_in_the_order_they_were_made(playground: Playground) -> None:
    made = [create(playground, name).id for name in ("a", "b")]
    with playground.engine.begin() as connection:
        keys.revoke_key(connection, made[0])
        listed = keys.list_keys(connection)
    assert [key.id for key in listed] == made
    assert [key.revoked_at is None for key in listed] == [False, True]


def test_the_census_tells_no_key_from_no_valid_key(playground: Playground) -> None:
    seen = [census(playground)]
    new = create(playground)
    seen.append(census(playground))
    with playground.engine.begin() as connection:
        keys.revoke_key(connection, new.id)
    seen.append(census(playground))
    assert seen == [KeyCensus(False, False), KeyCensus(True, True), KeyCensus(True, False)]


def test_the_last_use_is_noted_once_a_minute(playground: Playground) -> None:
    new = create(playground)
    seen = []
    for _ in range(2):
        find(playground, new.key)
        seen.append(playground.value("SELECT xmin FROM api_keys"))
    assert seen[0] == seen[1]
    assert playground.value("SELECT last_used_at IS NOT NULL FROM api_keys")


def test_a_deployment_s_own_key_is_adopted_once(playground: Playground) -> None:
    def adopt(connection: Connection) -> None:
        keys.adopt_key(connection, "stpl_chosen", "deployment")

    for _ in range(2):
        with playground.engine.begin() as connection:
            adopt(connection)
    found = find(playground, "stpl_chosen")
    assert found is not None
    assert found.scopes == tuple(Scope)
    with playground.engine.begin() as connection:
        keys.revoke_key(connection, found.id)
        adopt(connection)
    assert find(playground, "stpl_chosen") is None

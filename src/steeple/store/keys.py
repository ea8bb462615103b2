"""API keys: made, looked up by their hash, revoked. The key itself is never stored."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from uuid_utils.compat import uuid7

KEY_PREFIX = "stpl_"
_SHOWN_CHARS = len(KEY_PREFIX) + 6


class Scope(StrEnum):
    """What a key may do; each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


# Stores a key by its hash. One that is there already stays as it is, also if it is revoked.
_INSERT = text("""
INSERT INTO api_keys (id, name, prefix, hash, scopes) VALUES (:id, :name, :prefix, :hash, CAST(:scopes AS text[]))
ON CONFLICT (hash) DO NOTHING
""")

# Every key, in the order in which they were made.
_LIST = text("SELECT id, name, prefix, scopes, created_at, last_used_at, revoked_at FROM api_keys ORDER BY id")

# Revokes a key, once.
_REVOKE = text("UPDATE api_keys SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id")

# The key that a request shows, unless it is revoked.
_FIND = text("""
SELECT id, name, prefix, scopes, created_at, last_used_at, revoked_at FROM api_keys
WHERE hash = :hash AND revoked_at IS NULL
""")

# Whether there ever was a key, and whether one is good now.
_ANY = text(
    "SELECT EXISTS (SELECT FROM api_keys) AS ever, EXISTS (SELECT FROM api_keys WHERE revoked_at IS NULL) AS now"
)

# Remembers when a key was last used, to the minute: no write on each request.
_TOUCH = text("""
UPDATE api_keys SET last_used_at = now()
WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 min')
""")


@dataclass(frozen=True)
class NewKey:
    """``key`` is shown to its maker once."""

    id: UUID
    key: str
    name: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True)
class ApiKey:
    id: UUID
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class KeyCensus:
    """Whether keys were ever made, and whether one is valid now."""

    ever: bool
    now: bool


def create_key(connection: Connection, name: str, scopes: Sequence[Scope | str]) -> NewKey:
    """Make a key of 256 random bits."""
    new = NewKey(uuid7(), KEY_PREFIX + secrets.token_urlsafe(32), name, tuple(Scope(scope) for scope in scopes))
    _insert(connection, new)
    return new


def adopt_key(connection: Connection, key: str, name: str) -> None:
    """Store an admin key that the deployment chose, unless it is there already, revoked or not."""
    _insert(connection, NewKey(uuid7(), key, name, tuple(Scope)))


def list_keys(connection: Connection) -> list[ApiKey]:
    return [_api_key(row) for row in connection.execute(_LIST)]


def revoke_key(connection: Connection, key_id: UUID) -> bool:
    """Revoke a key; False if there is none, or it was revoked before."""
    return connection.execute(_REVOKE, {"id": key_id}).first() is not None


def find_key(connection: Connection, key: str) -> ApiKey | None:
    """The valid key that ``key`` is, and note its use."""
    row = connection.execute(_FIND, {"hash": key_hash(key)}).first()
    if row is None:
        return None
    connection.execute(_TOUCH, {"id": row.id})
    return _api_key(row)


def census(connection: Connection) -> KeyCensus:
    row = connection.execute(_ANY).one()
    return KeyCensus(row.ever, row.now)


def key_hash(key: str) -> bytes:
    """SHA-256: enough for 256 random bits, where slow password hashes would buy nothing."""
    return hashlib.sha256(key.encode()).digest()


def _insert(connection: Connection, new: NewKey) -> None:
    connection.execute(
        _INSERT,
        {
            "id": new.id,
            "name": new.name,
            "prefix": new.key[:_SHOWN_CHARS],
            "hash": key_hash(new.key),
            "scopes": [str(scope) for scope in new.scopes],
        },
    )


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )

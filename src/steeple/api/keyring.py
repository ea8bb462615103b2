"""Who is calling: API keys, looked up in the database and remembered for a second."""

from dataclasses import dataclass

from steeple.api.problem_kinds import Kind
from steeple.api.problems import Problem, Refusal, refusal
from steeple.api.recent import Recent
from steeple.store.database import Database
from steeple.store.keys import Scope, census, find_key

_REMEMBER_SECONDS = 1.0
"""So long after it was revoked a key may still be good."""

_MOST_REMEMBERED = 1000
_LONGEST_KEY = 512
_RANKS = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True)
class Caller:
    """``name`` scopes idempotency keys; ``rank`` is that of the caller's highest scope; ``title`` is for people."""

    name: str
    rank: int
    title: str

    def may(self, scope: Scope) -> bool:
        return self.rank >= _RANKS[scope]


ANYONE = Caller("anonymous", _RANKS[Scope.ADMIN], "anonymous")
"""Whoever calls without a key while none is asked for."""


class Keyring:
    """Where only this machine can call (``is_private``), no key is asked for until the first was made."""

    def __init__(self, database: Database, *, is_private: bool) -> None:
        self._database = database
        self._is_private = is_private
        self._census = Recent(lambda: database.run(census), _REMEMBER_SECONDS)
        self._callers: dict[bytes, Recent[Caller | None]] = {}

    async def admit(self, authorization: bytes | None, scope: Scope) -> Caller:
        """Whoever sends this ``Authorization`` header, if they may do what ``scope`` allows. Raises ``Refusal``."""
        caller = None if authorization is None else await self._known(authorization)
        if caller is None:
            if not await self._is_open():
                raise _unauthorized()
            caller = ANYONE
        require_scope(caller, scope)
        return caller

    async def _is_open(self) -> bool:
        return self._is_private and not (await self._census.get()).ever

    async def _known(self, authorization: bytes) -> Caller | None:
        remembered = self._callers.get(authorization)
        if remembered is None:
            key = _key(authorization)
            if key is None:
                return None
            if len(self._callers) >= _MOST_REMEMBERED:
                self._callers.clear()
            remembered = Recent(lambda: self._find(key), _REMEMBER_SECONDS)
            self._callers[authorization] = remembered
        return await remembered.get()

    async def _find(self, key: str) -> Caller | None:
        found = await self._database.run(lambda connection: find_key(connection, key))
        if found is None:
            return None
        return Caller(str(found.id), max((_RANKS[scope] for scope in found.scopes), default=-1), found.name)


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raises ``Refusal`` if the caller's key does not reach so far."""
    if not caller.may(scope):
        raise refusal(Kind.FORBIDDEN, f"this needs a key with the scope {scope.value}")


def _key(authorization: bytes) -> str | None:
    scheme, _, key = authorization.partition(b" ")
    key = key.strip(b" ")
    if scheme.lower() != b"bearer" or not 0 < len(key) <= _LONGEST_KEY or not key.isascii():
        return None
    return key.decode("ascii")


def _unauthorized() -> Refusal:
    detail = "no valid API key came with the request"
    return Refusal(Problem(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"}))

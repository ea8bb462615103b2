"""Who may call an operation, as the type of its parameter."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from steeple.api.keyring import ANYONE, Caller
from steeple.api.requests import JobQuery, repeatable, require_single
from steeple.api.schedule_requests import ScheduleQuery
from steeple.api.services import services_of
from steeple.api.visitors import require_local
from steeple.store.keys import Scope

_REPEATABLE = repeatable(JobQuery, ScheduleQuery)


class Allows(HTTPBearer):
    """Lets callers with a scope in, whose query is in order. FastAPI describes it as the API's security scheme."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(
            scheme_name="ApiKey",
            description="A key of `steeple keys create`. Needed once a key was made; on loopback not before.",
            auto_error=False,
        )
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        authorization = dict(request.scope["headers"]).get(b"authorization")
        caller = await services_of(request).keyring.admit(authorization, self.scope)
        if caller is ANYONE:
            require_local(request)
        require_single(request, _REPEATABLE)
        return caller


Reader = Annotated[Caller, Security(Allows(Scope.READ))]
Writer = Annotated[Caller, Security(Allows(Scope.WRITE))]

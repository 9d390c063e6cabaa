"""Who asks: a name with a role. Routes say which role they need; finding out who asks is in `credentials`."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.types import Scope

from retail_platform.serving.problems import ProblemError

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
"""What a user or key may be called: without a colon, at which HTTP Basic cuts."""


class Role(IntEnum):
    """What somebody may do; each role may do what those below it may."""

    VIEWER = 1
    """Aggregates, and rows with customers masked."""
    ANALYST = 2
    """All rows, and exports."""
    OPERATOR = 3
    """Runs of days, and the service's own metrics."""
    ADMIN = 4
    """Everything the API has."""

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def read(cls, text: str) -> "Role":
        """The role of a name such as `analyst`.

        Raises:
            ValueError: there is no such role; the message names those there are.
        """
        try:
            return cls[text.upper()]
        except KeyError:
            raise ValueError(f"no role {text!r}; it may be one of {', '.join(map(str, cls))}") from None


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.

    Attributes:
        name: unique over all ways in: a user's own, `key:<name>`, or `oidc:<subject>` of an outside issuer.
        way: how the name was shown: `token`, `key`, `basic` or `oidc`.
    """

    name: str
    role: Role
    way: str

    @property
    def sees_customers(self) -> bool:
        """Whether rows about single customers, and their ids, may be shown."""
        return self.role >= Role.ANALYST


WAYS_IN: dict[str, dict[str, object]] = {
    "token": {"type": "oauth2", "flows": {"password": {"tokenUrl": "/api/v1/auth/token", "scopes": {}}}},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of /api/v1/auth/token, or of the issuer."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic"},
}
"""Security schemes of OpenAPI. Any one of them will do; the middleware reads them all, so a route costs one look."""

CHALLENGE = 'Basic realm="retail", charset="UTF-8", Bearer realm="retail"'
"""Basic first: Chromium reads no further, and asks its user for name and password."""


def refused(detail: str) -> ProblemError:
    """The problem of somebody whose name is missing or not shown well."""
    return ProblemError(401, detail, headers={"WWW-Authenticate": CHALLENGE})


def address_of(scope: Scope) -> str:
    """The client's address; a proxy's own unless the settings trust it."""
    client = scope.get("client")
    return client[0] if client else "unix"


def principal_of(request: Request) -> Principal:
    """Who asks, as the middleware found out.

    Raises:
        ProblemError: 401, nobody we know; the detail says what to send.
    """
    principal = request.scope["state"]["principal"]
    if isinstance(principal, Principal):
        return principal
    raise principal


class _Required(SecurityBase):
    """The role a route needs. One scheme stands for all `WAYS_IN` until the application's schema writes them out."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.model = HTTPBearer()
        self.scheme_name = "bearer"

    async def __call__(self, request: Request) -> Principal:
        principal = principal_of(request)
        if principal.role < self.role:
            raise ProblemError(403, f"This needs the role {self.role}; yours is {principal.role}.")
        return principal


_REQUIRED = {role: _Required(role) for role in Role}


def require(role: Role) -> Callable[[Request], Awaitable[Principal]]:
    """The dependency of a route that needs a role: `Annotated[Principal, Depends(require(Role.ANALYST))]`.

    Raises (when asked):
        ProblemError: 401 without a name, 403 with a lower role.
    """
    return _REQUIRED[role]

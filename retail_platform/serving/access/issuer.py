"""Bearer tokens of an outside issuer (OpenID Connect): checked against the keys it publishes."""

import asyncio
import http.client
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
from jwt import PyJWKClient

from retail_platform.serving.access.principals import Principal, Role
from retail_platform.serving.problems import ProblemError
from retail_platform.settings import Settings

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones only: with HS256 among them, whoever reads the public key could sign."""

TIMEOUT_SECONDS = 5
LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""

UNREACHABLE = (jwt.PyJWKClientConnectionError, httpx.HTTPError, OSError, http.client.HTTPException)
"""What asking for its documents may end with."""


class Issuer:
    """An outside issuer, as the settings name it."""

    def __init__(self, settings: Settings) -> None:
        if not (settings.oidc_issuer and settings.oidc_audience):
            raise ValueError("RETAIL_OIDC_ISSUER needs RETAIL_OIDC_AUDIENCE: what the issuer writes for this API.")
        self._issuer, self._audience = settings.oidc_issuer, settings.oidc_audience
        self._jwks_url = settings.oidc_jwks_url
        self._claim = settings.oidc_role_claim.split(".")
        self._roles = {value: Role.read(name) for value, name in settings.oidc_roles.items()}
        if not self._roles:
            self._roles = {str(role): role for role in Role}
        self._keys: PyJWKClient | None = None

    async def read(self, token: str) -> tuple[Principal, float]:
        """Whom a token names, and when it expires.

        Raises:
            jwt.InvalidTokenError: it is not the issuer's, not for this API, has expired, or names no role.
            ProblemError: 503, the issuer's keys cannot be had.
        """
        try:
            claims = await asyncio.to_thread(self._verified, token)
        except UNREACHABLE as error:
            raise ProblemError(503, f"The keys of {self._issuer} cannot be had now. Ask again later.") from error
        return Principal(f"oidc:{claims['sub']}", self._role(claims), "oidc"), float(claims["exp"])

    def _verified(self, token: str) -> dict[str, Any]:
        if self._keys is None:
            self._keys = PyJWKClient(self._jwks_url or self._discovered(), timeout=TIMEOUT_SECONDS)
        try:
            self._keys.get_signing_keys()
        except jwt.PyJWKClientConnectionError:
            raise
        except (jwt.PyJWKClientError, jwt.PyJWKSetError, ValueError) as error:
            raise ProblemError(503, f"What {self._issuer} publishes as its keys is no JSON Web Key Set.") from error
        try:
            key = self._keys.get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError:
            raise
        except jwt.PyJWKClientError as error:
            raise jwt.InvalidTokenError(str(error)) from error
        return jwt.decode(
            token,
            key,
            ALGORITHMS,
            {"require": ["exp", "iat", "iss", "aud", "sub"]},
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
        )

    def _discovered(self) -> str:
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        answer = httpx.get(address, timeout=TIMEOUT_SECONDS).raise_for_status()
        try:
            return str(answer.json()["jwks_uri"])
        except (ValueError, KeyError, TypeError) as error:
            detail = "is not JSON with `jwks_uri`, as OpenID Connect has it. Check RETAIL_OIDC_ISSUER, or set"
            raise ProblemError(503, f"{address} {detail} RETAIL_OIDC_JWKS_URL.") from error

    def _role(self, claims: Mapping[str, Any]) -> Role:
        """The highest role that the claim names."""
        found: Any = claims
        for name in self._claim:
            found = found.get(name) if isinstance(found, Mapping) else None
        values = found if isinstance(found, list) else [found]
        roles = [self._roles[value] for value in values if isinstance(value, str) and value in self._roles]
        if not roles:
            raise jwt.InvalidTokenError("no role of this platform in the token")
        return max(roles)

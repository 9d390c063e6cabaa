"""Finding out who asks: from a token, a key, a name and password, or an outside issuer's token.

What was found is trusted for `TRUST_SECONDS`, so that a client that asks often costs a dictionary look-up: whatever is
revoked, disabled or changed holds by then in every process, and at once in the one that was told.
"""

import asyncio
import base64
import hashlib
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import jwt

from retail_platform.serving.access import tokens
from retail_platform.serving.access.issuer import Issuer
from retail_platform.serving.access.limits import FAILED, Limits
from retail_platform.serving.access.passwords import Checker
from retail_platform.serving.access.principals import NAME, Principal, Role, refused
from retail_platform.serving.access.store import Account, Store, open_store
from retail_platform.serving.problems import ProblemError
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database

TRUST_SECONDS = 5.0
REMEMBERED = 10_000
"""Credentials; a table that is full is emptied, which costs each client one check."""

WRONG_PASSWORD = "Name and password do not belong together, or the user is disabled."
WRONG_KEY = "The API key is not known, has expired or was revoked."
WRONG_TOKEN = "The token is not valid: not ours, expired or revoked. Get another at /api/v1/auth/token."

KEY = re.compile(r"rk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")

T = TypeVar("T")
Shown = tuple[bytes, bytes]
"""The scheme of a credential in lower case, and the credential."""
Found = tuple[Principal, float]
"""Who asks, and until when (seconds since 1970) that may be believed at most."""


class Access:
    """Everything about who may ask; one in each process."""

    def __init__(self, settings: Settings, store: Store, checker: Checker) -> None:
        self.limits = Limits(settings)
        self.store = store
        self._checker = checker
        self._secret = tokens.token_secret(settings)
        self._issuer = Issuer(settings) if settings.oidc_issuer else None
        self._process_key = secrets.token_bytes(32)
        self._known: _Remembered[Found] = _Remembered()
        self._right: _Remembered[str] = _Remembered()
        self._asking: dict[bytes, asyncio.Task[Found]] = {}

    async def identify(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Principal | None:
        """Who asks.

        Args:
            headers: of the request.
            address: of the client, whose failures are counted.

        Returns:
            None when the request names nobody.

        Raises:
            ProblemError: 401 what it shows does not hold, 429 too much of that, 503 it cannot be known.
        """
        if (shown := _shown(headers)) is None:
            return None
        digest = self._digest(b" ".join(shown))
        if (found := self._known.get(digest)) and found[1] > time.time():
            return found[0]
        # Those who ask with the same credential at once wait for one answer.
        if (task := self._asking.get(digest)) is None:
            task = self._asking[digest] = asyncio.create_task(self._checked(*shown, address))
            task.add_done_callback(lambda done: self._remember(digest, done))
        return (await asyncio.shield(task))[0]

    async def check_password(self, name: str, password: str, address: str) -> Account:
        """The user of a name and password.

        Raises:
            ProblemError: 401 when they do not belong together, 429 after too many tries, 503.
        """
        account = await self.store.user(name) if NAME.fullmatch(name) else None
        if not await self._is_right(account, name, password, address) or account is None:
            raise refused(WRONG_PASSWORD)
        return account

    async def log_in(self, name: str, password: str, address: str) -> tuple[str, str, Role]:
        """Access token, refresh token and role for a name and password.

        Raises:
            ProblemError: as `check_password`.
        """
        account = await self.check_password(name, password, address)
        session, refresh = await self.store.open_session(account.name)
        return tokens.sign(self._secret, account.name, str(account.role), session), refresh, account.role

    async def refresh(self, token: str, address: str) -> tuple[str, str, Role]:
        """Access token, refresh token and role for a refresh token, which is used up by this.

        Raises:
            ProblemError: 401 when it is not good; when it was used before, its session has ended by this.
        """
        await self.limits.check(FAILED, address)
        refreshed = await self.store.refresh(token)
        if refreshed is None:
            self._known.clear()
            await self.limits.hit(FAILED, address)
            raise refused("The refresh token is not valid: not ours, used before, expired or revoked. Log in again.")
        session, name, role, following = refreshed
        return tokens.sign(self._secret, name, str(role), session), following, role

    async def log_out(self, token: str) -> None:
        """End the session of a refresh token that is good; none of its tokens holds any longer."""
        if await self.store.close(token):
            self._known.clear()

    async def _checked(self, scheme: bytes, value: bytes, address: str) -> Found:
        await self.limits.check(FAILED, address)
        try:
            return await self._found(scheme, value, address)
        except ProblemError as error:
            if error.status_code == 401:
                await self.limits.hit(FAILED, address)
            raise

    async def _found(self, scheme: bytes, value: bytes, address: str) -> Found:
        match scheme:
            case b"bearer":
                return await self._bearer(value.decode("latin-1"))
            case b"key":
                return await self._key(value.decode("latin-1"), address), math.inf
            case b"basic":
                return await self._basic(value, address), math.inf
        raise refused("The header Authorization may hold a bearer token, or name and password (Basic).")

    async def _bearer(self, token: str) -> Found:
        """Ours are signed by HS256, an outside issuer's by anything else: neither is ever checked as the other."""
        try:
            if jwt.get_unverified_header(token).get("alg") != tokens.ALGORITHM and self._issuer is not None:
                return await self._issuer.read(token)
            claims = tokens.read(self._secret, token)
        except jwt.InvalidTokenError as error:
            raise refused(WRONG_TOKEN) from error
        role = await self.store.session(claims.session, claims.name)
        if role is None:
            raise refused(WRONG_TOKEN)
        return Principal(claims.name, role, "token"), claims.expires

    async def _key(self, key: str, address: str) -> Principal:
        if (parts := KEY.fullmatch(key)) is None:
            raise refused(WRONG_KEY)
        key_id, secret = parts.groups()
        account = await self.store.key(key_id)
        if not await self._is_right(account, f"key {key_id}", secret, address) or account is None:
            raise refused(WRONG_KEY)
        await self.store.key_was_used(key_id)
        return Principal(f"key:{account.name}", account.role, "key")

    async def _basic(self, value: bytes, address: str) -> Principal:
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError as error:
            raise refused("The header Authorization: Basic is not base64 of name:password in UTF-8.") from error
        account = await self.check_password(name, password, address)
        return Principal(account.name, account.role, "basic")

    async def _is_right(self, account: Account | None, name: str, secret: str, address: str) -> bool:
        """Whether a secret is right; the hash that it was right for is remembered, as argon2 is slow on purpose."""
        digest = self._digest(f"{name}:{secret}".encode())
        if account is not None and self._right.get(digest) == account.secret_hash:
            return True
        who = name[:64]  # no name is longer
        for limit, counted in (("login", f"{who} {address}"), ("login user", who), ("login address", address)):
            await self.limits.hit(limit, counted)
        stored = account.secret_hash if account else None
        if not await self._checker.matches(stored, secret) or stored is None:
            return False
        self._right.put(digest, stored)
        await self.limits.forget("login", f"{who} {address}")
        return True

    def _remember(self, digest: bytes, done: asyncio.Task[Found]) -> None:
        del self._asking[digest]
        if not done.cancelled() and done.exception() is None:
            principal, until = done.result()
            self._known.put(digest, (principal, min(until, time.time() + TRUST_SECONDS)))

    def _digest(self, credential: bytes) -> bytes:
        """What stands for a credential in memory; by itself, or in another process, it is worth nothing."""
        return hashlib.blake2b(credential, key=self._process_key, digest_size=16).digest()


class _Remembered(Generic[T]):
    """A table of at most `REMEMBERED` entries."""

    def __init__(self) -> None:
        self._entries: dict[bytes, T] = {}
        self.get = self._entries.get
        self.clear = self._entries.clear

    def put(self, key: bytes, entry: T) -> None:
        if len(self._entries) >= REMEMBERED:
            self._entries.clear()
        self._entries[key] = entry


@asynccontextmanager
async def open_access(settings: Settings, database: Database) -> AsyncIterator[Access]:
    """Everything about who may ask, on the users and keys of a database.

    Raises:
        NoSecretError: there is nothing to sign tokens with.
        ValueError: the settings name an issuer without audience, a role that does not exist, or no limit.
    """
    async with open_store(database) as store:
        checker = Checker()
        try:
            yield Access(settings, store, checker)
        finally:
            checker.close()


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> Shown | None:
    """What a request shows of its sender: a key goes before what is in Authorization."""
    found = None
    for name, value in headers:
        if name == b"x-api-key":
            return b"key", value.strip()
        if name == b"authorization":
            scheme, _, credential = value.partition(b" ")
            found = scheme.lower(), credential.strip()
    return found

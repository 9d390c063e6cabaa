"""What a request has to know of users, keys and sessions, read as `retail_access`."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from retail_platform.serving.access.principals import Role
from retail_platform.serving.access.tables import ACCESS
from retail_platform.serving.problems import ProblemError
from retail_platform.warehouse.connection import Database

SESSION_LIFE = timedelta(days=14)
"""From the last refresh on."""

HALF = 32
"""Bytes of each half of a refresh token's secret, and of each half's hash."""

CONNECTIONS = 4
SECONDS = 5.0
"""For a connection, and for a statement: each reads one row."""

UNPREPARED = (
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InvalidParameterValueError,  # the role does not exist
    asyncpg.InsufficientPrivilegeError,
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a key that may be used now, if its secret is right."""

    name: str
    role: Role
    secret_hash: str


class Store:
    """A few connections that may read users and keys, keep sessions, and nothing else."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def user(self, name: str) -> Account | None:
        """A user who is not disabled."""
        found = await self._row(
            "select name, role, password_hash from access.users where name = $1 and not is_disabled", name
        )
        return found and Account(found[0], Role.read(found[1]), found[2])

    async def key(self, key_id: str) -> Account | None:
        """A key that is neither revoked nor expired."""
        found = await self._row(
            """
            select name, role, secret_hash from access.keys
            where key_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
            """,
            key_id,
        )
        return found and Account(found[0], Role.read(found[1]), found[2])

    async def key_was_used(self, key_id: str) -> None:
        """Note the use of a key, once an hour."""
        await self._row(
            """
            update access.keys set last_used_at = now()
            where key_id = $1 and (last_used_at is null or last_used_at < now() - interval '1 hour')
            """,
            key_id,
        )

    async def session(self, session_id: UUID, name: str) -> Role | None:
        """The role of the user whose session it is; None when the session has ended or the user is disabled."""
        found = await self._row(
            """
            select role from access.sessions join access.users on name = user_name
            where session_id = $1 and name = $2 and not is_disabled and expires_at > now()
            """,
            session_id,
            name,
        )
        return found and Role.read(found[0])

    async def open_session(self, name: str) -> tuple[UUID, str]:
        """Begin a session, and clear away the user's expired ones.

        Returns:
            Its id and its first refresh token.
        """
        session_id, secret = uuid4(), _Secret(secrets.token_bytes(HALF), secrets.token_bytes(HALF))
        await self._row(
            """
            with expired as (delete from access.sessions where user_name = $2 and expires_at <= now())
            insert into access.sessions (session_id, user_name, refresh_hash, expires_at)
            values ($1, $2, $3, now() + $4::interval)
            """,
            session_id,
            name,
            secret.hash,
            SESSION_LIFE,
        )
        return session_id, secret.token(session_id)

    async def refresh(self, token: str) -> tuple[UUID, str, Role, str] | None:
        """Change a refresh token for the next one.

        A token that was changed already is in two hands: its session ends, and with it all of its tokens.

        Returns:
            Session, user, role, next refresh token; None when the token is not, or no longer, good.
        """
        if (parts := _refresh_parts(token)) is None:
            return None
        session_id, secret = parts
        following = _Secret(secret.session, secrets.token_bytes(HALF))
        found = await self._row(
            """
            update access.sessions set refresh_hash = $3, expires_at = now() + $4::interval
            from access.users
            where session_id = $1 and refresh_hash = $2 and expires_at > now() and name = user_name and not is_disabled
            returning name, role
            """,
            session_id,
            secret.hash,
            following.hash,
            SESSION_LIFE,
        )
        if found is None:
            await self.close(token)
            return None
        return session_id, found[0], Role.read(found[1]), following.token(session_id)

    async def close(self, token: str) -> bool:
        """End the session of a refresh token, used before or not, and with it all of its tokens.

        Returns:
            Whether there was one.
        """
        if (parts := _refresh_parts(token)) is None:
            return False
        session_id, secret = parts
        end = "delete from access.sessions where session_id = $1 and substr(refresh_hash, 1, $2) = $3 returning true"
        return await self._row(end, session_id, HALF, secret.hash[:HALF]) is not None

    async def _row(self, statement: str, *values: Any) -> Any:
        try:
            return await self._pool.fetchrow(statement, *values)
        except UNPREPARED as error:
            detail = "Nobody is known yet: the owner of the warehouse adds the first user by `retail user add NAME`."
            raise ProblemError(503, detail) from error
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            detail = "The database of users does not answer. Ask again later."
            raise ProblemError(503, detail, headers={"Retry-After": "5"}) from error


@asynccontextmanager
async def open_store(database: Database) -> AsyncIterator[Store]:
    """The store of a database; a connection is made when one is needed first."""
    pool = asyncpg.create_pool(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password or None,
        database=database.dbname,
        min_size=0,
        max_size=CONNECTIONS,
        timeout=SECONDS,
        command_timeout=SECONDS,
        server_settings={"role": ACCESS, "application_name": "retail api: access"},
    )
    async with pool:
        yield Store(pool)


@dataclass(frozen=True, slots=True)
class _Secret:
    """What a refresh token proves: the half that all of a session's have, and the half that holds once.

    A session's id is no secret (its access tokens name it), so that the first half is what may end it. Only hashes are
    kept, and compared: how long that takes tells nothing of a secret. Each is of 256 random bits: nothing slower is
    needed, as nobody can guess them.
    """

    session: bytes
    once: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.session).digest() + hashlib.sha256(self.once).digest()

    def token(self, session_id: UUID) -> str:
        return f"rt_{session_id.hex}_{(self.session + self.once).hex()}"


def _refresh_parts(token: str) -> tuple[UUID, _Secret] | None:
    match token.split("_"):
        case ["rt", session_id, secret]:
            try:
                halves = bytes.fromhex(secret)
                return UUID(session_id), _Secret(halves[:HALF], halves[HALF:])
            except ValueError:
                return None
    return None

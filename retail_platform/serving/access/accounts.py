"""Changing users and keys, as `retail user` and `retail key` do; the API itself has no right to.

What is changed here holds in running processes within `credentials.TRUST_SECONDS`.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.errors import UniqueViolation

from retail_platform.serving.access.passwords import HASHER, hash_password
from retail_platform.serving.access.principals import NAME, Role


class AccountError(ValueError):
    """A user or key cannot be changed so; the message says why."""


def add_user(connection: psycopg.Connection, name: str, role: Role, password: str) -> None:
    """Add a user.

    Raises:
        AccountError: the name is taken or cannot be one.
        WeakPasswordError: the password is too short.
    """
    values = [_checked(name), str(role), hash_password(password)]
    try:
        connection.execute("insert into access.users (name, role, password_hash) values (%s, %s, %s)", values)
    except UniqueViolation as error:
        raise AccountError(f"there is a user {name!r} already; change it by `retail user password|role`.") from error


def set_password(connection: psycopg.Connection, name: str, password: str) -> None:
    """Give a user another password and end the sessions begun with the old one.

    Raises:
        AccountError: there is no such user.
        WeakPasswordError: the password is too short.
    """
    _change(connection, name, "update access.users set password_hash = %s where name = %s", hash_password(password))


def set_role(connection: psycopg.Connection, name: str, role: Role) -> None:
    """Give a user another role and end the sessions begun with the old one.

    Raises:
        AccountError: there is no such user.
    """
    _change(connection, name, "update access.users set role = %s where name = %s", str(role))


def set_disabled(connection: psycopg.Connection, name: str, disabled: bool) -> None:
    """Shut a user out, ending all sessions, or let one in again.

    Raises:
        AccountError: there is no such user.
    """
    _change(connection, name, "update access.users set is_disabled = %s where name = %s", disabled)


def list_users(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Users by name: name, role, whether disabled, day of creation, open sessions."""
    return connection.execute(
        """
        select name, role, is_disabled, created_at::date, (
            select count(*) from access.sessions where user_name = name and expires_at > now()
        ) from access.users order by name
        """
    ).fetchall()


def add_key(connection: psycopg.Connection, name: str, role: Role, lasts: timedelta | None) -> str:
    """Make a key for a service.

    Args:
        connection: of a user who may change schema `access`.
        name: of the service, unique among keys that are not revoked.
        role: what it may do.
        lasts: how long it holds; None for ever.

    Returns:
        The key, which nobody can read again: `rk_<public id>_<secret>`.

    Raises:
        AccountError: the name is taken or cannot be one.
    """
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    values = [key_id, _checked(name), str(role), HASHER.hash(secret), lasts]
    try:
        connection.execute(
            "insert into access.keys (key_id, name, role, secret_hash, expires_at) values (%s, %s, %s, %s, now() + %s)",
            values,
        )
    except UniqueViolation as error:
        raise AccountError(f"there is a key {name!r} already; revoke it first, or take another name.") from error
    return f"rk_{key_id}_{secret}"


def revoke_key(connection: psycopg.Connection, name: str) -> None:
    """End a key, by its name or public id.

    Raises:
        AccountError: there is no such key that is not revoked yet.
    """
    revoke = "update access.keys set revoked_at = now() where (name = %s or key_id = %s) and revoked_at is null"
    if connection.execute(revoke, [name, name]).rowcount == 0:
        raise AccountError(f"there is no key {name!r}, or it is revoked already; see `retail key list`.")


def list_keys(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Keys by name: public id, name, role, days of creation, expiry, revocation and last use."""
    return connection.execute(
        """
        select key_id, name, role, created_at::date, expires_at::date, revoked_at::date, last_used_at::date
        from access.keys order by name, created_at
        """
    ).fetchall()


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise AccountError(f"{name!r} cannot be a name; take lower-case letters, digits, and . _ @ - after the first.")
    return name


def _change(connection: psycopg.Connection, name: str, update: LiteralString, value: Any) -> None:
    with connection.transaction():
        values: Sequence[Any] = [value, name]
        if connection.execute(update, values).rowcount == 0:
            raise AccountError(f"there is no user {name!r}; see `retail user list`.")
        connection.execute("delete from access.sessions where user_name = %s", [name])

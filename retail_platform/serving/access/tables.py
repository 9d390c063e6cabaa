"""The tables behind `Who may ask`: schema `access` of the warehouse's database, and the role that reads it.

Lives here: their DDL and grants. Stays out: changing users and keys (`accounts`), reading them for a request (`store`).
"""

import psycopg
from psycopg import sql

ACCESS = "retail_access"
"""Role without login that the API takes for everything here: it reads users and keys, and keeps sessions."""

PREPARE_LOCK = 7_305_114_833
"""Key of the advisory lock that one who creates these tables holds; arbitrary."""

TABLES = """
create schema if not exists access;
create table if not exists access.users (
    name text primary key,
    password_hash text not null,
    role text not null,
    is_disabled boolean not null default false,
    created_at timestamptz not null default now()
);
comment on table access.users is 'People who may ask, with argon2id hashes of their passwords.';
create table if not exists access.keys (
    key_id text primary key,
    name text not null,
    secret_hash text not null,
    role text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
comment on table access.keys is 'API keys of services, with argon2id hashes; last_used_at is right to the hour.';
create unique index if not exists keys_name on access.keys (name) where revoked_at is null;
create table if not exists access.sessions (
    session_id uuid primary key,
    user_name text not null references access.users on delete cascade,
    refresh_hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
comment on table access.sessions is
    'One row per login: all its access tokens die with it. refresh_hash is of its secret and of the one not yet used.';
create index if not exists sessions_user on access.sessions (user_name);
"""

GRANTS = """
grant usage on schema access to {role};
grant select on access.users, access.keys to {role};
grant update (last_used_at) on access.keys to {role};
grant select, insert, update, delete on access.sessions to {role};
"""


def prepare_access(connection: psycopg.Connection) -> None:
    """Create what is missing of these tables and grants; at any time, by any number of processes.

    `retail_access` is created where the user may create roles; elsewhere the server's administrator creates it
    (deploy/databases.sql), and the next call grants.

    Args:
        connection: of a user who may create schemas in the database, without an open transaction.
    """
    role = sql.Identifier(ACCESS)
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [PREPARE_LOCK])
        may_create = "select from pg_roles where rolname = current_user and (rolcreaterole or rolsuper)"
        if not _has_role(connection) and connection.execute(may_create).fetchone() is not None:
            connection.execute(sql.SQL("create role {} nologin").format(role))
        connection.execute(TABLES)
        if _has_role(connection):
            connection.execute(sql.SQL(GRANTS).format(role=role))


def may_prepare(connection: psycopg.Connection) -> bool:
    """Whether the connection's user may create schemas here; the API's own login on a real server may not."""
    answer = connection.execute("select has_database_privilege(current_database(), 'create')").fetchone()
    return answer == (True,)


def _has_role(connection: psycopg.Connection) -> bool:
    return connection.execute("select from pg_roles where rolname = %s", [ACCESS]).fetchone() is not None

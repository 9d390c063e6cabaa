"""The tables of the warehouse: schema `gold` from the contracts, the platform's own state, and who may read.

Lives here: the DDL of these tables, and what happens to them when a contract changes. Stays out: rows (`load`,
`publish`), and the schemas that dbt owns.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import sql

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, Table
from retail_platform.warehouse.changes import alter_beside_readers, writing

SCHEMAS = ("gold", "marts", "platform")
READER = "retail_reader"
"""Role without login that may read gold and marts; grant it to those who should."""

NATURAL_KEYS = {
    "dim_date": ("date",),
    "dim_country": ("country_code",),
    "dim_product": ("stock_code", "valid_from"),
    "dim_customer": ("customer_id", "valid_from"),
    "dim_invoice": ("invoice_no", "sale_date"),
}
"""What people look a member up by. Not unique: new members come before vanished ones go (the surrogate key is)."""

PLATFORM_TABLES = """
create table if not exists platform.load (
    load_id bigint generated always as identity primary key,
    loaded_at timestamptz not null default now(),
    run_id text not null,
    first_day date,
    last_day date,
    day_count integer not null,
    row_count bigint not null
);
comment on table platform.load is 'One row per load of gold: its run, the days it replaced and their fact rows.';
create table if not exists platform.consumed (
    table_name text primary key,
    version bigint not null
);
comment on table platform.consumed is 'The Delta version of each source table that is loaded.';
create table if not exists platform.pending_day (
    sale_date date primary key,
    load_id bigint not null references platform.load
);
comment on table platform.pending_day is 'Days loaded since marts with them were published, and the last load of each.';
create table if not exists platform.built_day (
    sale_date date primary key,
    load_id bigint not null
);
comment on table platform.built_day is 'Pending days that the last build of the marts took, and their loads.';
create table if not exists platform.loaded_day (
    sale_date date unique nulls not distinct,
    fingerprint text not null
);
comment on table platform.loaded_day is
    'Fingerprint of each day as the published marts show it; the row without a day is of rows without a usable day.';
create table if not exists platform.publication (
    version bigint primary key,
    published_at timestamptz not null default now(),
    run_id text not null,
    marts jsonb not null
);
create table if not exists platform.index_choice (
    table_name text not null,
    columns text[] not null,
    is_wanted boolean not null,
    reason text not null,
    chosen_at timestamptz not null default now(),
    primary key (table_name, columns)
);
comment on table platform.index_choice is
    'Indexes of schema gold that were chosen (retail lake advise --apply) beside those that the code declares, or not.';
comment on table platform.publication is 'One row per publication; marts: rows inserted, updated and deleted of each.';
"""

FRESHNESS = """
create view platform.freshness as
select
    (select coalesce(max(version), 0) from platform.publication) as version,
    (select max(published_at) from platform.publication) as published_at,
    (select max(loaded_at) from platform.load) as loaded_at,
    (select max(sale_date) from gold.fact_sale) as newest_sale_date,
    (select count(*) from platform.pending_day) as waiting_day_count;
comment on view platform.freshness is 'One row: how new the data are.';
comment on column platform.freshness.version is 'Number of the publication that the marts are of; 0 before the first.';
comment on column platform.freshness.published_at is 'When the marts were published.';
comment on column platform.freshness.loaded_at is 'When gold was loaded.';
comment on column platform.freshness.newest_sale_date is 'Newest day with a sale in gold.';
comment on column platform.freshness.waiting_day_count is 'Days loaded into gold that the marts do not show yet.';
"""

RANKED_BY = {"fact_sale": ("total_amount",)}
"""What the largest rows are asked for by: a page of them is read from the index's end instead of sorting a year."""


class SchemaMismatchError(RuntimeError):
    """A table cannot be brought to its contract without a decision of its owner; the message says what to run."""


@dataclass(frozen=True)
class Column:
    """A column as the database has it."""

    type: str
    not_null: bool
    comment: str | None


def prepare_warehouse(connection: psycopg.Connection) -> None:
    """Create what is missing of the schemas, tables, comments and grants; can be run at any time, beside readers.

    A contract's new nullable column is added. `retail_reader` is created where the user may create roles; elsewhere the
    server's administrator creates it, and the next call grants.

    Args:
        connection: without an open transaction.

    Raises:
        SchemaMismatchError: a column differs from its contract in type or nullability, is gone from it, or is new and
            not null.
        LockedByReadersError: a column could not be added beside the readers.
    """
    with writing(connection):
        for schema in SCHEMAS:
            connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        _grant_reading(connection)
        connection.execute(PLATFORM_TABLES)
        for table in GOLD_TABLES:
            if not table_columns(connection, table.layer, table.name):
                _create(connection, table)
            _index(connection, table)
        if not table_columns(connection, "platform", "freshness"):
            connection.execute(FRESHNESS)
        _grant_state(connection)
    for table in GOLD_TABLES:
        _follow_contract(connection, table)


def warehouse_columns(table: Table) -> tuple[str, ...]:
    """The columns of a gold table in the warehouse: all but the one the Delta table is partitioned by on disk."""
    return tuple(name for name in table.schema if name != table.month)


def warehouse_key(table: Table) -> tuple[str, ...]:
    """The primary key of a gold table in the warehouse; that of a partitioned table has to hold the day too."""
    return (*table.key, str(table.day)) if table is FACT_SALE else table.key


def wanted_indexes(connection: psycopg.Connection, table: Table) -> list[tuple[str, ...]]:
    """The columns of each index that a gold table has beside its key: those declared here, as chosen since."""
    chosen = connection.execute(
        "select columns, is_wanted from platform.index_choice where table_name = %s order by columns", [table.name]
    ).fetchall()
    wanted = dict.fromkeys(indexed_columns(table), True) | {tuple(columns): is_wanted for columns, is_wanted in chosen}
    return [columns for columns, is_wanted in wanted.items() if is_wanted]


def choose_index(
    connection: psycopg.Connection, table_name: str, columns: tuple[str, ...], is_wanted: bool, reason: str
) -> None:
    """Choose that a gold table has an index on these columns, or has none; `prepare_warehouse` makes it so."""
    connection.execute(
        "insert into platform.index_choice (table_name, columns, is_wanted, reason) values (%s, %s, %s, %s)"
        " on conflict (table_name, columns) do update"
        " set is_wanted = excluded.is_wanted, reason = excluded.reason, chosen_at = now()",
        [table_name, list(columns), is_wanted, reason],
    )


def indexed_columns(table: Table) -> list[tuple[str, ...]]:
    """The columns of each index beside the key's.

    The day, every foreign key (by which a vanished member is quickly known to be unused), and what is looked for.
    """
    wanted = (table.day, *table.references)
    indexes: list[tuple[str, ...]] = [(column,) for column in wanted if column and (column,) != table.key]
    return [*indexes, *(named[table.name] for named in (NATURAL_KEYS, RANKED_BY) if table.name in named)]


def identifier(table: Table) -> sql.Identifier:
    """The table's name in the warehouse."""
    return sql.Identifier(table.layer, table.name)


def month_identifier(month: date, schema: str = FACT_SALE.layer) -> sql.Identifier:
    """The name of a month's partition of `gold.fact_sale`, or of what is to become it in another schema."""
    return sql.Identifier(schema, f"{FACT_SALE.name}_{month:%Y_%m}")


def existing_months(connection: psycopg.Connection) -> set[date]:
    """The months, by their first day, that `gold.fact_sale` has a partition for."""
    names = connection.execute(
        "select right(relname, 7) from pg_inherits join pg_class on oid = inhrelid where inhparent = %s::regclass",
        [str(FACT_SALE)],
    )
    return {date.fromisoformat(f"{name.replace('_', '-')}-01") for (name,) in names}


def table_columns(connection: psycopg.Connection, schema: str, table: str) -> dict[str, Column]:
    """The columns of a table in order, by name; empty when there is no such table."""
    rows = connection.execute(
        """
        select attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = to_regnamespace(%s) and relname = %s and attnum > 0 and not attisdropped
        order by attnum
        """,
        [schema, table],
    )
    return {name: Column(*rest) for name, *rest in rows}


def set_comments(
    connection: psycopg.Connection, schema: str, table: str, comment: str | None, columns: Mapping[str, str | None]
) -> None:
    """Set the comments of a table and its columns, where they differ.

    Args:
        connection: in a transaction.
        schema: the table's schema.
        table: the table.
        comment: of the table.
        columns: column -> its comment.
    """
    name = sql.Identifier(schema, table)
    present = connection.execute("select obj_description(%s::regclass)", [name.as_string(connection)]).fetchone()
    if present is not None and present[0] != comment:
        connection.execute(sql.SQL("comment on table {} is {}").format(name, sql.Literal(comment)))
    for column, found in table_columns(connection, schema, table).items():
        if column in columns and columns[column] != found.comment:
            target = sql.Identifier(schema, table, column)
            connection.execute(sql.SQL("comment on column {} is {}").format(target, sql.Literal(columns[column])))


def _create(connection: psycopg.Connection, table: Table) -> None:
    parts = [_definition(table, name) for name in warehouse_columns(table)]
    parts.append(sql.SQL("primary key ({})").format(_list(warehouse_key(table))))
    for column, reference in table.references.items():
        target, key = reference.split(".")
        foreign = sql.SQL("foreign key ({}) references {} ({})")
        parts.append(foreign.format(sql.Identifier(column), sql.Identifier(table.layer, target), sql.Identifier(key)))
    create = sql.SQL("create table {} ({})").format(identifier(table), sql.SQL(", ").join(parts))
    if table is FACT_SALE:
        create += sql.SQL(" partition by range ({})").format(sql.Identifier(str(table.day)))
    connection.execute(create)


def _index(connection: psycopg.Connection, table: Table) -> None:
    """Create the indexes that are missing, under the names that PostgreSQL would give them; drop those chosen away."""
    wanted = wanted_indexes(connection, table)
    for columns in [*wanted, *(columns for columns in indexed_columns(table) if columns not in wanted)]:
        name = f"{table.name}_{'_'.join(columns)}_idx"
        found = connection.execute("select to_regclass(%s)", [f"{table.layer}.{name}"]).fetchone()
        if found == (None,) and columns in wanted:
            create = sql.SQL("create index {} on {} ({})")
            connection.execute(create.format(sql.Identifier(name), identifier(table), _list(columns)))
        elif found != (None,) and columns not in wanted:
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(table.layer, name)))


def _definition(table: Table, column: str) -> sql.Composed:
    null = "" if table.nullable[column] else " not null"
    return sql.Identifier(column) + sql.SQL(f" {table.postgres_types[column]}{null}")


def _follow_contract(connection: psycopg.Connection, table: Table) -> None:
    """Add the contract's new columns and set its comments."""
    with connection.transaction():
        present = table_columns(connection, table.layer, table.name)
    _refuse_mismatches(table, present)
    for name in warehouse_columns(table):
        if name not in present:
            add = sql.SQL("alter table {} add column if not exists ").format(identifier(table))
            alter_beside_readers(connection, identifier(table), add + _definition(table, name))
    with writing(connection):
        comment = inspect.cleandoc(table.contract.__doc__ or "").partition("\n")[0]
        set_comments(connection, table.layer, table.name, comment, table.descriptions)


def _refuse_mismatches(table: Table, present: Mapping[str, Column]) -> None:
    expected = {name: (table.postgres_types[name], not table.nullable[name]) for name in warehouse_columns(table)}
    found = {name: (column.type, column.not_null) for name, column in present.items()}
    changed = {name for name in expected.keys() & found if found[name] != expected[name]}
    wrong = [f"{name} is {found[name]}, expected {expected[name]}" for name in changed]
    wrong += [f"{name} is not in the contract" for name in found.keys() - expected]
    wrong += [f"{name} is missing and not null" for name in expected.keys() - found if expected[name][1]]
    if wrong:
        raise SchemaMismatchError(
            f"{table} differs from its contract (type, not null): {'; '.join(sorted(wrong))}. Change the table by "
            "`alter table`, or run `drop schema gold cascade; truncate platform.consumed` and load every day again."
        )


def _grant_reading(connection: psycopg.Connection) -> None:
    reader = sql.Identifier(READER)
    may_create = "select from pg_roles where rolname = current_user and (rolcreaterole or rolsuper)"
    if not _has_reader(connection) and connection.execute(may_create).fetchone() is not None:
        connection.execute(sql.SQL("create role {} nologin").format(reader))
    if not _has_reader(connection):
        return
    for schema in ("gold", "marts"):
        granted = connection.execute("select has_schema_privilege(%s, %s, 'usage')", [READER, schema]).fetchone()
        if granted == (True,):
            continue
        grants = sql.SQL(
            "grant usage on schema {schema} to {reader}; grant select on all tables in schema {schema} to {reader};"
            "alter default privileges in schema {schema} grant select on tables to {reader}"
        )
        connection.execute(grants.format(schema=sql.Identifier(schema), reader=reader))


def _grant_state(connection: psycopg.Connection) -> None:
    """What readers may know of the platform's own state: how new the data are, and the numbers that say so."""
    may_read = "select has_table_privilege(%s, 'platform.freshness', 'select')"
    if not _has_reader(connection) or connection.execute(may_read, [READER]).fetchone() == (True,):
        return
    grant = (
        "grant usage on schema platform to {reader};"
        "grant select on platform.freshness, platform.load, platform.publication to {reader}"
    )
    connection.execute(sql.SQL(grant).format(reader=sql.Identifier(READER)))


def _has_reader(connection: psycopg.Connection) -> bool:
    return connection.execute("select from pg_roles where rolname = %s", [READER]).fetchone() is not None


def _list(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))

"""The publishing of marts: what dbt built and tested in `marts_build` becomes what readers see in `marts`, at once.

Lives here: bringing every mart to its build by difference, in one transaction, and the record of it. Stays out:
building and testing (dbt), and the decision to publish.

A published table keeps its identity for ever: it is never dropped, renamed or emptied, so no plan that a reader has
prepared breaks and no snapshot loses its rows. Hence:

- a new mart is created with the keys, indexes and comments of its build; each needs a primary key;
- a new column is added, nullable, and empty until the difference is committed;
- a column that is gone, has another type, or may be null now, and another primary key, are refused before anything is
  touched: readers have to be told first, then the owner changes or drops the table by hand;
- a mart that is gone from the build stays as it was last published, and is reported as abandoned.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from retail_platform.warehouse.changes import Change, Difference, alter_beside_readers, analyze_if_changed, writing
from retail_platform.warehouse.tables import Column, SchemaMismatchError, set_comments, table_columns

BUILD = "marts_build"
MARTS = "marts"


class PublishError(RuntimeError):
    """The build cannot be published; nothing was touched."""


@dataclass(frozen=True)
class Mart:
    """A table of marts as one of the two schemas has it."""

    columns: dict[str, Column]
    key: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True)
class PublishResult:
    """What a publication did.

    Attributes:
        version: its number; it grows with every publication.
        changes: mart -> rows inserted, updated and deleted.
        created: the marts that were published for the first time.
        abandoned: the published marts that are not built any more.
    """

    version: int
    changes: dict[str, Change]
    created: tuple[str, ...]
    abandoned: tuple[str, ...]


def publish_marts(
    connection: psycopg.Connection, *, fingerprints: Mapping[date | None, str], built: Mapping[date, int], run_id: str
) -> PublishResult:
    """Make every table of `marts` equal to its build, in one transaction: a reader sees all of before or all of after.

    Args:
        connection: without an open transaction; the warehouse is prepared (`prepare_warehouse`).
        fingerprints: day -> fingerprint of the content that the marts show now, for the record; None stands for rows
            without a usable day.
        built: what `pending_days` said before the build began; those days stop being pending, unless loaded since.
        run_id: the run that asks, for the record.

    Returns:
        What was changed.

    Raises:
        PublishError: nothing is built, or a build is no table or has no primary key.
        SchemaMismatchError: a published mart cannot follow its build (see the module).
        LockedByReadersError: a new column could not be added beside the readers.
    """
    with connection.transaction():
        builds, published = _read_marts(connection, BUILD), _read_marts(connection, MARTS)
    _refuse_builds(builds)
    _refuse_mismatches(builds, published)
    created = tuple(builds.keys() - published.keys())
    _add_columns(connection, builds, published)
    with writing(connection):
        for name in created:
            like = sql.SQL("create table {} (like {} including all)")
            connection.execute(like.format(sql.Identifier(MARTS, name), sql.Identifier(BUILD, name)))
        changes = {name: _publish_mart(connection, name, mart) for name, mart in builds.items()}
        _record_days(connection, fingerprints, built)
        version = _record(connection, changes, run_id)
    return PublishResult(version, changes, tuple(sorted(created)), tuple(sorted(published.keys() - builds.keys())))


def record_build(connection: psycopg.Connection, built: Mapping[date, int]) -> None:
    """Note which days the marts in `marts_build` were built for.

    Args:
        connection: without an open transaction.
        built: what `pending_days` said before the build began.
    """
    with connection.transaction():
        connection.execute("delete from platform.built_day")
        connection.execute(
            "insert into platform.built_day select * from unnest(%s::date[], %s::bigint[])",
            [list(built.keys()), list(built.values())],
        )


def built_days(connection: psycopg.Connection) -> dict[date, int]:
    """The days that the last successful build took -> the load it saw of each."""
    with connection.transaction():
        return dict(connection.execute("select sale_date, load_id from platform.built_day").fetchall())


def loaded_fingerprints(connection: psycopg.Connection) -> dict[date | None, str]:
    """Day, or None -> fingerprint of its content as the published marts show it."""
    with connection.transaction():
        return dict(connection.execute("select sale_date, fingerprint from platform.loaded_day").fetchall())


def _read_marts(connection: psycopg.Connection, schema: str) -> dict[str, Mart]:
    """The tables and views of a schema by name; dbt's own intermediate ones left out."""
    found = connection.execute(
        """
        select relname, obj_description(oid, 'pg_class'), array(
            select attname from pg_constraint, unnest(conkey) with ordinality as k(attnum, position)
            join pg_attribute using (attnum)
            where contype = 'p' and conrelid = pg_class.oid and attrelid = pg_class.oid order by position
        )
        from pg_class
        where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p', 'v', 'm') and relname !~ '__dbt_'
        order by relname
        """,
        [schema],
    ).fetchall()
    return {name: Mart(table_columns(connection, schema, name), tuple(key), comment) for name, comment, key in found}


def _refuse_builds(builds: Mapping[str, Mart]) -> None:
    if not builds:
        raise PublishError(f"Schema {BUILD} holds no table; run `dbt build` before publishing.")
    if keyless := [name for name, mart in builds.items() if not mart.key]:
        raise PublishError(
            f"In {BUILD}, these have no primary key, by which rows are compared: {', '.join(keyless)}. "
            "Make each a table or incremental model with an enforced contract and a constraint of type primary_key."
        )


def _refuse_mismatches(builds: Mapping[str, Mart], published: Mapping[str, Mart]) -> None:
    wrong = [
        f"{MARTS}.{name}: {difference}"
        for name in builds.keys() & published.keys()
        for difference in _mismatches(builds[name], published[name])
    ]
    if wrong:
        raise SchemaMismatchError(
            f"Published marts cannot follow their builds: {'; '.join(sorted(wrong))}. When the readers are ready, "
            "change the published table by `alter table`, or drop it: the next publication creates it anew."
        )


def _mismatches(build: Mart, mart: Mart) -> Iterable[str]:
    if build.key != mart.key:
        yield f"the primary key is {mart.key}, built {build.key}"
    for name, column in mart.columns.items():
        new = build.columns.get(name)
        if new is None:
            yield f"column {name} is not built any more"
        elif new.type != column.type:
            yield f"column {name} is {column.type}, built {new.type}"
        elif column.not_null and not new.not_null:
            yield f"column {name} is not null, built nullable"


def _add_columns(connection: psycopg.Connection, builds: Mapping[str, Mart], published: Mapping[str, Mart]) -> None:
    for name in builds.keys() & published.keys():
        table = sql.Identifier(MARTS, name)
        for column in builds[name].columns.keys() - published[name].columns.keys():
            add = sql.SQL("alter table {} add column if not exists {} ").format(table, sql.Identifier(column))
            alter_beside_readers(connection, table, add + sql.SQL(builds[name].columns[column].type))


def _publish_mart(connection: psycopg.Connection, name: str, build: Mart) -> Change:
    target = sql.Identifier(MARTS, name)
    difference = Difference(connection, target, sql.Identifier(BUILD, name), tuple(build.columns), build.key)
    difference.delete()
    difference.upsert()
    set_comments(connection, MARTS, name, build.comment, {column: new.comment for column, new in build.columns.items()})
    analyze_if_changed(connection, target, difference.change.rows)
    return difference.change


def _record_days(
    connection: psycopg.Connection, fingerprints: Mapping[date | None, str], built: Mapping[date, int]
) -> None:
    connection.execute("delete from platform.loaded_day where sale_date = any(%s) or sale_date is null", [list(built)])
    connection.execute(
        "insert into platform.loaded_day select * from unnest(%s::date[], %s::text[])"
        " on conflict (sale_date) do update set fingerprint = excluded.fingerprint",
        [list(fingerprints.keys()), list(fingerprints.values())],
    )
    connection.execute(
        "delete from platform.pending_day"
        " where (sale_date, load_id) in (select * from unnest(%s::date[], %s::bigint[]))",
        [list(built.keys()), list(built.values())],
    )


def _record(connection: psycopg.Connection, changes: Mapping[str, Change], run_id: str) -> int:
    found = connection.execute(
        "insert into platform.publication (version, run_id, marts)"
        " select coalesce(max(version), 0) + 1, %s, %s from platform.publication returning version",
        [run_id, Jsonb({name: asdict(change) for name, change in changes.items()})],
    ).fetchone()
    assert found is not None
    return int(found[0])

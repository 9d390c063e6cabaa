"""Publishing marts: by difference, in one transaction, no table ever replaced."""

from datetime import date

import psycopg
import pytest

from retail_platform.warehouse.changes import Change
from retail_platform.warehouse.load import pending_days
from retail_platform.warehouse.publish import PublishError, PublishResult, loaded_fingerprints, publish_marts
from retail_platform.warehouse.tables import Column, SchemaMismatchError, table_columns


@pytest.fixture
def marts(warehouse: psycopg.Connection) -> psycopg.Connection:
    """One published mart of three rows, and its build."""
    warehouse.execute("create schema marts_build")
    warehouse.execute("create table marts_build.sales (country text, year int, total numeric(18, 4), note text)")
    warehouse.execute("alter table marts_build.sales add primary key (country, year)")
    warehouse.execute("comment on table marts_build.sales is 'Sales, it''s all'")
    warehouse.execute("comment on column marts_build.sales.total is 'Net, 100 %'")
    warehouse.execute(
        "insert into marts_build.sales values ('UK', 2010, 1.5, null), ('UK', 2011, 2, 'x'), ('FR', 2011, null, null)"
    )
    publish(warehouse)
    return warehouse


def publish(connection: psycopg.Connection, **options: object) -> PublishResult:
    return publish_marts(connection, **{"fingerprints": {}, "built": {}, "run_id": "run-1"} | options)  # type: ignore[arg-type]


def sales(connection: psycopg.Connection, columns: str = "*") -> list[tuple[object, ...]]:
    return connection.execute(f"select {columns} from marts.sales order by country, year").fetchall()


def test_a_new_mart_is_its_build_with_key_and_comments(marts: psycopg.Connection) -> None:
    assert sales(marts) == marts.execute("select * from marts_build.sales order by country, year").fetchall()
    assert table_columns(marts, "marts", "sales") == table_columns(marts, "marts_build", "sales")
    assert marts.execute("select obj_description('marts.sales'::regclass)").fetchone() == ("Sales, it's all",)
    with pytest.raises(psycopg.errors.UniqueViolation):
        marts.execute("insert into marts.sales values ('UK', 2010, 3)")


def test_only_rows_that_differ_are_touched_and_the_table_stays_itself(marts: psycopg.Connection) -> None:
    state = "select country, xmin::text, ctid::text from marts.sales where year = 2011 order by 1"
    before, oid = marts.execute(state).fetchall(), marts.execute("select 'marts.sales'::regclass::oid").fetchone()
    marts.execute("delete from marts_build.sales where year = 2010")
    marts.execute("insert into marts_build.sales values ('DE', 2010, 4), ('DE', 2012, 4)")
    assert publish(marts).changes == {"sales": Change(inserted=2, deleted=1)}
    assert marts.execute(state).fetchall() == before
    assert marts.execute("select 'marts.sales'::regclass::oid").fetchone() == oid


def test_nulls_are_equal_to_nulls_and_differ_from_values(marts: psycopg.Connection) -> None:
    assert publish(marts).changes == {"sales": Change()}
    marts.execute("update marts_build.sales set total = 7 where total is null")
    marts.execute("update marts_build.sales set note = null where note = 'x'")
    assert publish(marts).changes == {"sales": Change(updated=2)}
    assert publish(marts).changes == {"sales": Change()}


def test_a_rebuilt_build_with_columns_in_another_order_is_the_same(marts: psycopg.Connection) -> None:
    marts.execute("alter table marts_build.sales rename to old")
    marts.execute("create table marts_build.sales as select note, year, total, country from marts_build.old")
    marts.execute("drop table marts_build.old")
    marts.execute("alter table marts_build.sales add primary key (country, year)")
    assert publish(marts).changes == {"sales": Change()}


def test_a_new_column_arrives_with_its_values_and_comment(marts: psycopg.Connection) -> None:
    oid = marts.execute("select 'marts.sales'::regclass::oid").fetchone()
    marts.execute("alter table marts_build.sales add column tax numeric(9, 4) not null default 2.5")
    marts.execute("comment on column marts_build.sales.tax is 'Rate'")
    assert publish(marts).changes == {"sales": Change(updated=3)}
    assert sales(marts, "tax") == [(2.5,)] * 3
    assert table_columns(marts, "marts", "sales")["tax"] == Column("numeric(9,4)", False, "Rate")
    assert marts.execute("select 'marts.sales'::regclass::oid").fetchone() == oid


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("alter column total type float", r"column total is numeric\(18,4\), built double precision"),
        ("drop column note", "column note is not built any more"),
        ("drop constraint sales_pkey, alter country drop not null, add primary key (year, note)", "primary key"),
        ("drop constraint sales_pkey, alter country drop not null, add primary key (year)", "country is not null"),
    ],
)
def test_what_a_mart_cannot_follow_is_refused_before_anything_is_touched(
    marts: psycopg.Connection, change: str, found: str
) -> None:
    marts.execute("create table marts_build.another (id int primary key)")
    marts.execute("delete from marts_build.sales where country = 'FR'")
    marts.execute("update marts_build.sales set note = year::text")
    marts.execute(f"alter table marts_build.sales {change}")
    before = sales(marts)
    with pytest.raises(SchemaMismatchError, match=found):
        publish(marts)
    assert sales(marts) == before
    assert marts.execute("select to_regclass('marts.another')").fetchone() == (None,)


@pytest.mark.parametrize("kind", ["table", "view"])
def test_a_build_without_primary_key_is_refused(marts: psycopg.Connection, kind: str) -> None:
    marts.execute(f"create {kind} marts_build.keyless as select 1 as id")
    with pytest.raises(PublishError, match=r"no primary key.*keyless"):
        publish(marts)


def test_nothing_built_is_refused(warehouse: psycopg.Connection) -> None:
    with pytest.raises(PublishError, match="dbt build"):
        publish(warehouse)


def test_a_mart_that_is_not_built_any_more_stays_and_is_reported(marts: psycopg.Connection) -> None:
    marts.execute("create table marts_build.another (id int primary key)")
    marts.execute("drop table marts_build.sales")
    result = publish(marts)
    assert (result.created, result.abandoned) == (("another",), ("sales",))
    assert len(sales(marts)) == 3


def test_a_failure_in_the_middle_leaves_every_mart_as_it_was(marts: psycopg.Connection) -> None:
    marts.execute("create table marts_build.another (id int primary key)")
    marts.execute("delete from marts_build.sales")
    marts.execute("alter table marts.sales add constraint never_empty check (year < 2011) not valid")
    marts.execute("insert into marts_build.sales values ('UK', 2013, 1)")
    with pytest.raises(psycopg.errors.CheckViolation):
        publish(marts, fingerprints={date(2011, 1, 1): "a"})
    assert len(sales(marts)) == 3
    assert marts.execute("select to_regclass('marts.another')").fetchone() == (None,)
    assert loaded_fingerprints(marts) == {}


def test_a_publication_is_numbered_and_recorded(marts: psycopg.Connection) -> None:
    marts.execute("delete from marts_build.sales where country = 'FR'")
    assert publish(marts, run_id="run-2").version == 2
    assert marts.execute("select run_id, marts from platform.publication order by version desc limit 1").fetchone() == (
        "run-2",
        {"sales": {"inserted": 0, "updated": 0, "deleted": 1}},
    )


def test_published_days_get_their_fingerprint_and_are_pending_no_more_unless_loaded_since(
    marts: psycopg.Connection,
) -> None:
    first, second = date(2011, 1, 1), date(2011, 1, 2)
    marts.execute("insert into platform.load (run_id, day_count, row_count) values ('a', 2, 9), ('b', 1, 9)")
    marts.execute("insert into platform.pending_day values (%s, 1), (%s, 1)", [first, second])
    built = pending_days(marts)
    marts.execute("update platform.pending_day set load_id = 2 where sale_date = %s", [second])
    publish(marts, fingerprints={first: "f1", second: "f2"}, built=built)
    publish(marts, fingerprints={first: "f3", None: "n1"})
    publish(marts, fingerprints={None: "n2"})
    assert pending_days(marts) == {second: 2}
    assert loaded_fingerprints(marts) == {first: "f3", second: "f2", None: "n2"}

"""The tables of the warehouse follow the contracts, and change beside readers."""

from dataclasses import replace

import pandera.polars as pa
import polars as pl
import psycopg
import pytest

from retail_platform.contracts import DIM_COUNTRY, FACT_SALE, GOLD_TABLES, Table
from retail_platform.contracts.gold import DimCountry
from retail_platform.warehouse import changes, tables
from retail_platform.warehouse.changes import LockedByReadersError
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import SchemaMismatchError, prepare_warehouse, table_columns, warehouse_columns


class WiderCountry(DimCountry):
    calling_code: pl.String = pa.Field(nullable=True, description="Telephone prefix.")


class StricterCountry(DimCountry):
    calling_code: pl.String = pa.Field(description="Telephone prefix.")


class RetypedCountry(DimCountry):
    population: pl.Float64 = pa.Field(nullable=True, description="Inhabitants.")  # type: ignore[assignment]


def follow(monkeypatch: pytest.MonkeyPatch, contract: type[DimCountry]) -> None:
    """Let the warehouse know this contract of dim_country."""
    changed = tuple(replace(t, contract=contract) if t.name == DIM_COUNTRY.name else t for t in GOLD_TABLES)
    monkeypatch.setattr(tables, "GOLD_TABLES", changed)


@pytest.mark.parametrize("table", GOLD_TABLES, ids=lambda table: table.name)
def test_columns_types_nullability_and_comments_are_the_contracts(warehouse: psycopg.Connection, table: Table) -> None:
    found = table_columns(warehouse, "gold", table.name)
    assert {name: (c.type, c.not_null, c.comment) for name, c in found.items()} == {
        name: (table.postgres_types[name], not table.nullable[name], table.descriptions[name])
        for name in warehouse_columns(table)
    }


def test_readers_may_know_how_new_the_data_are(warehouse: psycopg.Connection) -> None:
    with warehouse.transaction():
        warehouse.execute("set local role retail_reader")
        assert warehouse.execute("select * from platform.freshness").fetchall() == [(0, None, None, None, 0)]


def test_an_index_that_is_missing_is_made(warehouse: psycopg.Connection) -> None:
    names = "select indexname from pg_indexes where schemaname = 'gold' order by 1"
    before = warehouse.execute(names).fetchall()
    assert ("fact_sale_total_amount_idx",) in before
    warehouse.execute("drop index gold.fact_sale_total_amount_idx")
    prepare_warehouse(warehouse)
    assert warehouse.execute(names).fetchall() == before


def test_the_partition_column_of_the_disk_is_left_out(warehouse: psycopg.Connection) -> None:
    assert "sale_month" not in table_columns(warehouse, "gold", "fact_sale")


def test_table_comment_is_the_first_line_of_the_contract(warehouse: psycopg.Connection) -> None:
    comment = warehouse.execute("select obj_description('gold.fact_sale'::regclass)").fetchone()
    assert comment == ("One row per silver line, keyed to the dimension versions valid on its day.",)


def test_fact_is_partitioned_and_keyed(warehouse: psycopg.Connection) -> None:
    definitions = warehouse.execute(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = 'gold.fact_sale'::regclass and contype in ('p', 'f') order by 1"
    ).fetchall()
    expected = [f"FOREIGN KEY ({c}) REFERENCES gold.{r.replace('.', '(')})" for c, r in FACT_SALE.references.items()]
    assert [d for (d,) in definitions] == sorted([*expected, "PRIMARY KEY (sale_id, sale_date)"])
    assert warehouse.execute("select pg_get_partkeydef('gold.fact_sale'::regclass)").fetchone() == (
        "RANGE (sale_date)",
    )


def test_preparing_again_changes_nothing(warehouse: psycopg.Connection) -> None:
    state = "select array_agg((oid, relname, xmin::text) order by oid)::text from pg_class where relname !~ '^pg_'"
    before = warehouse.execute(state).fetchone()
    prepare_warehouse(warehouse)
    assert warehouse.execute(state).fetchone() == before


def test_a_new_nullable_column_is_added_with_its_comment(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(monkeypatch, WiderCountry)
    prepare_warehouse(warehouse)
    assert table_columns(warehouse, "gold", "dim_country")["calling_code"] == tables.Column(
        "text", False, "Telephone prefix."
    )


@pytest.mark.parametrize(
    ("contract", "found"),
    [
        (RetypedCountry, r"population is \('bigint', False\), expected \('double precision', False\)"),
        (StricterCountry, "calling_code is missing and not null"),
    ],
)
def test_a_column_that_cannot_follow_is_refused_with_what_to_do(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, contract: type[DimCountry], found: str
) -> None:
    follow(monkeypatch, contract)
    with pytest.raises(SchemaMismatchError, match=found) as error:
        prepare_warehouse(warehouse)
    assert "drop schema gold cascade" in str(error.value)


def test_a_column_that_left_its_contract_is_refused(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.execute("alter table gold.dim_country add column anthem text")
    with pytest.raises(SchemaMismatchError, match="anthem is not in the contract"):
        prepare_warehouse(warehouse)


def test_a_column_gives_way_to_readers_and_names_those_that_stay(
    warehouse: psycopg.Connection, fresh_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(monkeypatch, WiderCountry)
    monkeypatch.setattr(changes, "ALTER_TRIES", 2)
    with fresh_database.connect(application_name="endless dashboard") as reader:
        reader.execute("select count(*) from gold.dim_country")
        with pytest.raises(LockedByReadersError, match="endless dashboard"):
            prepare_warehouse(warehouse)
        with fresh_database.connect(options="-c statement_timeout=1s") as another:
            another.execute("select count(*) from gold.dim_country")
    prepare_warehouse(warehouse)


def test_an_open_transaction_is_refused(fresh_database: Database) -> None:
    with fresh_database.connect() as connection:
        connection.execute("select 1")
        with pytest.raises(RuntimeError, match="open transaction"):
            prepare_warehouse(connection)


def test_readers_role_reads_gold_and_marts_and_writes_nothing(warehouse: psycopg.Connection) -> None:
    warehouse.execute("create table marts.later (id int primary key)")
    warehouse.execute("set role retail_reader")
    warehouse.execute("select * from gold.fact_sale, gold.dim_customer, marts.later")
    for statement in ("delete from gold.dim_date", "select * from platform.consumed"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            warehouse.execute(statement)

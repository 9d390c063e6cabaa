"""The index advisor on a real warehouse: what it rests on, what it tries, and that the code knows what is chosen."""

from datetime import date

import psycopg
import pytest

from retail_platform.contracts import DIM_DATE, FACT_SALE
from retail_platform.warehouse import indexes
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.indexes import advise_indexes, compared_columns, statistics_source
from retail_platform.warehouse.load import load_gold
from retail_platform.warehouse.tables import choose_index, prepare_warehouse, wanted_indexes
from retail_platform_tests.warehouse.gold_frames import gold_frames

GOLD = gold_frames(date(2011, 1, 10), days=2, lines_per_day=400)


@pytest.fixture
def loaded(warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    monkeypatch.setattr(indexes, "LEAST_ROWS", 500)
    load_gold(warehouse, tables=GOLD.tables, days=GOLD.days, consumed={}, run_id="r")
    warehouse.execute("analyze")
    return warehouse


def index_names(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute("select indexname from pg_indexes where schemaname = 'gold'")}


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("select * from gold.fact_sale where batch_id = $1 and quantity > $2", ["batch_id", "quantity"]),
        ('select 1 from "gold"."fact_sale" as f where f."batch_id" = any($1)', ["batch_id"]),
        ("select batch_id from gold.fact_sale where quantity between $1 and $2", ["quantity"]),
        ("select 1 from gold.fact_sale f join gold.dim_date d on f.date_key = d.date_key where year in ($1, $2)", []),
    ],
)
def test_the_columns_that_a_statement_compares(statement: str, columns: list[str]) -> None:
    assert compared_columns(statement, list(FACT_SALE.schema)) == columns


def test_without_statements_no_index_is_proposed_and_that_is_said(
    loaded: psycopg.Connection, fresh_database: Database
) -> None:
    assert "no new index is proposed" in statistics_source(loaded)
    assert advise_indexes(fresh_database) == []


def test_a_new_index_is_tried_and_made_where_the_code_declares_them(
    loaded: psycopg.Connection, fresh_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that looks as pg_stat_statements does stands for it: the embedded server has no such extension."""
    monkeypatch.setattr(indexes, "WIN", 1e9)
    loaded.execute("create table pg_stat_statements (query text, calls bigint, total_exec_time float8, dbid oid)")
    loaded.execute(
        "insert into pg_stat_statements select 'select * from gold.fact_sale where batch_id = $1', 100, 500, oid"
        " from pg_database where datname = current_database()"
    )
    assert "pg_stat_statements: the statements" in statistics_source(loaded)
    (advice,) = advise_indexes(fresh_database)
    assert (advice.table, advice.columns, advice.action) == ("fact_sale", ("batch_id",), "create")
    assert advice.why == "100 questions of 5.0 ms compare it, and no index begins with it"
    assert (advice.verdict, advice.before > 0, advice.after > 0) == ("worth it", True, True)
    assert "fact_sale_batch_id_idx" not in index_names(loaded)
    (applied,) = advise_indexes(fresh_database, apply=True)
    assert applied.verdict == "applied"
    assert {"fact_sale_batch_id_idx", "fact_sale_2011_01_batch_id_idx"} < index_names(loaded)
    assert advise_indexes(fresh_database) == []
    prepare_warehouse(loaded)
    assert ("batch_id",) in wanted_indexes(loaded, FACT_SALE)


def test_a_proposal_that_does_not_win_is_not_applied(
    loaded: psycopg.Connection, fresh_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "OBSERVED_DAYS", 0)
    monkeypatch.setattr(indexes, "DROP_WIN", 0.0)
    before = index_names(loaded)
    advice = advise_indexes(fresh_database, apply=True)
    assert {each.action for each in advice} == {"drop"}
    assert {each.verdict for each in advice} == {"not worth it"}
    assert index_names(loaded) == before


def test_unused_indexes_are_proposed_after_two_weeks_only(loaded: psycopg.Connection, fresh_database: Database) -> None:
    assert indexes.OBSERVED_DAYS == 14
    assert advise_indexes(fresh_database) == []


def test_an_index_that_is_chosen_away_is_dropped_and_comes_back(loaded: psycopg.Connection) -> None:
    declared = wanted_indexes(loaded, FACT_SALE)
    choose_index(loaded, "fact_sale", ("total_amount",), False, "nobody asks")
    prepare_warehouse(loaded)
    assert "fact_sale_total_amount_idx" not in index_names(loaded)
    assert [c for c in declared if c != ("total_amount",)] == wanted_indexes(loaded, FACT_SALE)
    choose_index(loaded, "fact_sale", ("total_amount",), True, "somebody does")
    prepare_warehouse(loaded)
    assert "fact_sale_total_amount_idx" in index_names(loaded)
    assert wanted_indexes(loaded, DIM_DATE) == [("date",)]

"""Upkeep of a real warehouse, beside a reader."""

from datetime import date

import psycopg

from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import load_gold
from retail_platform.warehouse.maintenance import empty_partitions, tend_tables
from retail_platform_tests.warehouse.gold_frames import GoldFrames, gold_frames

FIRST = date(2011, 1, 10)
GOLD = gold_frames(FIRST, days=1, lines_per_day=60)


def load(connection: psycopg.Connection, gold: GoldFrames) -> None:
    load_gold(connection, tables=gold.tables, days=[FIRST], consumed={}, run_id="r")


def test_every_table_is_tended_beside_a_reader(warehouse: psycopg.Connection, fresh_database: Database) -> None:
    load(warehouse, GOLD)
    with fresh_database.connect() as reader:
        reader.execute("select count(*) from gold.fact_sale")
        tended = {each.name: each for each in tend_tables(fresh_database)}
        reader.execute("select count(*) from gold.fact_sale")
    assert tended["gold.fact_sale"].rows > 0
    assert {"gold.dim_product", "platform.load"} < tended.keys()
    assert "gold.fact_sale_2011_01" not in tended
    parent = "select count(*) from pg_stats where schemaname = 'gold' and tablename = 'fact_sale' and inherited"
    assert warehouse.execute(parent).fetchone() != (0,)


def test_dead_rows_are_cleared(warehouse: psycopg.Connection, fresh_database: Database) -> None:
    warehouse.execute("insert into platform.consumed select n::text, 1 from generate_series(1, 500) as n")
    warehouse.execute("delete from platform.consumed")
    warehouse.execute("select pg_stat_force_next_flush()")
    tended = {each.name: each for each in tend_tables(fresh_database)}["platform.consumed"]
    assert (tended.rows, tended.dead_before, tended.dead_after) == (0, 500, 0)
    assert 0 < tended.size_after <= tended.size_before


def test_months_without_rows_are_told(warehouse: psycopg.Connection, fresh_database: Database) -> None:
    assert empty_partitions(fresh_database) == []
    load(warehouse, GOLD)
    assert empty_partitions(fresh_database) == []
    load(warehouse, GOLD.of([]))
    tend_tables(fresh_database)
    assert empty_partitions(fresh_database) == ["gold.fact_sale_2011_01"]

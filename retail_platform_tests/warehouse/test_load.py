"""The load of gold: by difference, in one transaction, beside readers."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import psycopg
import pytest
from psycopg import IsolationLevel

from retail_platform.contracts import DIM_INVOICE, GOLD_TABLES
from retail_platform.transforms.keys import surrogate_keys
from retail_platform.warehouse import load as warehouse_load
from retail_platform.warehouse.changes import Change
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import LoadResult, consumed_versions, load_gold, pending_days
from retail_platform.warehouse.tables import existing_months, warehouse_columns
from retail_platform_tests.warehouse.gold_frames import GoldFrames, gold_frames

FIRST = date(2010, 12, 30)
GOLD = gold_frames(FIRST, days=4, lines_per_day=60)
"""Two days of December, two of January."""
UNTOUCHED = Change()


@pytest.fixture(params=["by difference", "in bulk"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """New months are small, or large enough to be filled in bulk."""
    if request.param == "in bulk":
        monkeypatch.setattr(warehouse_load, "BULK_ROWS", 1)
        monkeypatch.setattr(warehouse_load, "HOLD_OFF_TRIES", 2)


def load(
    connection: psycopg.Connection, gold: GoldFrames, days: Collection[date] | None = None, version: int = 1
) -> LoadResult:
    return load_gold(
        connection,
        tables=gold.tables,
        days=gold.days if days is None else days,
        consumed={"gold.fact_sale": version},
        run_id=f"run-{version}",
    )


def content(connection: psycopg.Connection, *physical: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every gold table, in order."""
    return {
        table.name: connection.execute(
            f"select {', '.join([*warehouse_columns(table), *physical])} from gold.{table.name} order by {table.key[0]}"
        ).fetchall()
        for table in GOLD_TABLES
    }


def rows(frames: GoldFrames) -> dict[str, list[tuple[object, ...]]]:
    """What `content` should say of these frames."""
    return {
        table.name: frames.tables[table.name].select(warehouse_columns(table)).sort(table.key[0]).rows()
        for table in GOLD_TABLES
    }


def as_text(tables: dict[str, list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    """Line ids as text, as the frames have them."""
    return tables | {"fact_sale": [(row[0], str(row[1]), *row[2:]) for row in tables["fact_sale"]]}


def moved(gold: GoldFrames, product: int, valid_from: date) -> GoldFrames:
    """Gold where a product's only version began on another day: its key changes, and its facts with it."""
    products = gold.dimensions["dim_product"]
    old = products["product_key"][product]
    changed = products.with_columns(
        valid_from=pl.when(pl.col("product_key") == old).then(pl.lit(valid_from)).otherwise("valid_from")
    ).drop("product_key")
    changed = surrogate_keys(changed, ["stock_code", "valid_from"], "product_key").select(products.columns)
    key = pl.col("product_key")
    return GoldFrames(
        gold.dimensions | {"dim_product": changed},
        gold.invoices,
        gold.facts.with_columns(product_key=pl.when(key == old).then(changed["product_key"][product]).otherwise(key)),
    )


@pytest.mark.usefixtures("either_way")
def test_the_first_load_is_the_frames_to_the_last_value(warehouse: psycopg.Connection) -> None:
    result = load(warehouse, GOLD)
    assert as_text(content(warehouse)) == rows(GOLD)
    assert result.new_months == (date(2010, 12, 1), date(2011, 1, 1))
    assert existing_months(warehouse) == set(result.new_months)
    assert result.changes["fact_sale"] == Change(inserted=240)


@pytest.mark.usefixtures("either_way")
def test_nulls_empty_text_quotes_and_microseconds_arrive_as_they_are(warehouse: psycopg.Connection) -> None:
    strange = GOLD.dimensions["dim_product"].with_columns(
        description=pl.Series(["", None, 'a "quoted", text', "two\nlines", "\\N"])
    )
    facts = GOLD.facts.with_columns(created_at=pl.col("created_at").dt.offset_by("5us"))
    gold = GoldFrames(GOLD.dimensions | {"dim_product": strange}, GOLD.invoices, facts)
    warehouse.execute("set timezone = 'America/New_York'")
    load(warehouse, gold)
    assert as_text(content(warehouse)) == rows(gold)


def test_a_second_load_of_the_same_touches_no_row(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    before = content(warehouse, "xmin::text", "ctid::text")
    result = load(warehouse, GOLD)
    assert content(warehouse, "xmin::text", "ctid::text") == before
    assert set(result.changes.values()) == {UNTOUCHED}
    assert result.new_months == ()


def test_a_day_is_replaced_and_the_others_are_not_touched(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    day = date(2011, 1, 1)
    corrected = GOLD.of([day])
    corrected = replace(
        corrected,
        invoices=corrected.invoices.head(2),
        facts=corrected.facts.head(40).with_columns(
            quantity=pl.when(pl.int_range(pl.len()) == 3).then(99).otherwise("quantity")
        ),
    )
    others = "select sale_id, xmin::text, ctid::text from gold.fact_sale where sale_date <> %s order by sale_id"
    before = warehouse.execute(others, [day]).fetchall()
    result = load(warehouse, corrected)
    assert result.changes["fact_sale"] == Change(updated=1, deleted=20)
    assert result.changes["dim_invoice"] == Change(deleted=1)
    assert warehouse.execute(others, [day]).fetchall() == before


def test_a_day_whose_rejects_alone_change_is_loaded(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    tables = GOLD.of([FIRST]).tables
    counts = tables["day_quality"].with_columns(pl.col("delivered_rows", "rejected_rows", "superseded_rows") + 2)
    changed = tables | {"day_quality": counts}
    result = load_gold(warehouse, tables=changed, days=[FIRST], consumed={}, run_id="rejects")
    assert result.changes.pop("day_quality") == Change(updated=1)
    assert set(result.changes.values()) == {UNTOUCHED}
    assert pending_days(warehouse)[FIRST] == result.load_id


def test_scattered_days_and_a_day_without_rows(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    first, last = date(2010, 12, 30), date(2011, 1, 2)
    assert load(warehouse, GOLD.of([last]), [first, last]).changes["fact_sale"] == Change(deleted=60)
    assert warehouse.execute("select from gold.fact_sale where sale_date = %s", [first]).fetchone() is None


@pytest.mark.usefixtures("either_way")
def test_days_in_any_order_give_the_same(warehouse: psycopg.Connection) -> None:
    for day in sorted(GOLD.days, reverse=True):
        load(warehouse, GOLD.of([day]))
    assert as_text(content(warehouse)) == rows(GOLD)


def test_a_vanished_version_goes_after_its_facts_were_rekeyed(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    gold = moved(GOLD, product=2, valid_from=date(2010, 12, 1))
    result = load(warehouse, gold)
    assert result.changes["dim_product"] == Change(inserted=1, deleted=1)
    assert result.changes["fact_sale"] == Change(updated=48)
    assert as_text(content(warehouse)) == rows(gold)


def test_a_fact_of_another_day_that_keeps_a_vanished_version_fails_the_load_whole(
    warehouse: psycopg.Connection,
) -> None:
    load(warehouse, GOLD)
    before, gold = content(warehouse), moved(GOLD, product=2, valid_from=date(2010, 12, 1))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        load(warehouse, gold.of([date(2011, 1, 1)]), version=2)
    assert content(warehouse) == before
    assert consumed_versions(warehouse) == {"gold.fact_sale": 1}


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("months_exist", [False, True])
def test_an_orphan_key_leaves_everything_as_it_was(warehouse: psycopg.Connection, months_exist: bool) -> None:
    if months_exist:
        load(warehouse, GOLD.of([date(2010, 12, 30), date(2011, 1, 2)]))
    before = content(warehouse), pending_days(warehouse)
    orphan = GOLD.facts.with_columns(
        country_key=pl.when(pl.int_range(pl.len()) == 239).then(404).otherwise("country_key")
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="404"):
        load(warehouse, replace(GOLD, facts=orphan), version=2)
    assert (content(warehouse), pending_days(warehouse)) == before


def test_a_changed_member_is_updated_in_place(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    cheaper = GOLD.dimensions["dim_product"].with_columns(recommended_price=pl.lit(Decimal("0.8000")))
    result = load(warehouse, replace(GOLD.of([]), dimensions=GOLD.dimensions | {"dim_product": cheaper}), [])
    assert result.changes["dim_product"] == Change(updated=5)
    assert pending_days(warehouse).keys() == GOLD.days


@pytest.mark.usefixtures("either_way")
def test_a_new_month_is_attached_while_a_reader_holds_the_parent(
    warehouse: psycopg.Connection, fresh_database: Database
) -> None:
    december = {date(2010, 12, 30), date(2010, 12, 31)}
    load(warehouse, GOLD.of(december))
    count = "select count(*), sum(total_amount) from gold.fact_sale join gold.dim_product using (product_key)"
    with fresh_database.connect() as reader:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        before = reader.execute(count).fetchone()
        load(warehouse, GOLD.of(GOLD.days - december))
        assert reader.execute(count).fetchone() == before
        reader.commit()
        assert reader.execute("select count(*) from gold.fact_sale").fetchone() == (240,)


@pytest.mark.usefixtures("either_way")
def test_every_partition_has_the_keys_and_indexes_of_the_parent(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    counts = warehouse.execute(
        """
        select (select count(*) from pg_index where indrelid = c.oid and indisvalid),
            (select count(*) from pg_constraint where conrelid = c.oid and contype in ('p', 'f') and convalidated)
        from pg_class as c where relname like 'fact_sale%' and relkind in ('r', 'p')
        """
    ).fetchall()
    assert counts == [(8, 6)] * 3


@pytest.mark.usefixtures("either_way")
def test_what_a_killed_load_left_behind_is_dropped(warehouse: psycopg.Connection) -> None:
    warehouse.execute("create schema gold_load; create table gold_load.fact_sale_2010_12 (half integer)")
    load(warehouse, GOLD)
    assert as_text(content(warehouse)) == rows(GOLD)
    assert warehouse.execute("select to_regnamespace('gold_load')").fetchone() == (None,)


def test_the_load_is_recorded(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    result = load(warehouse, GOLD.of([FIRST]), version=7)
    record = "select run_id, first_day, last_day, day_count, row_count from platform.load where load_id = %s"
    assert warehouse.execute(record, [result.load_id]).fetchone() == ("run-7", FIRST, FIRST, 1, 60)
    assert consumed_versions(warehouse) == {"gold.fact_sale": 7}
    assert pending_days(warehouse)[FIRST] == result.load_id
    assert pending_days(warehouse).keys() == GOLD.days


def test_rows_of_a_day_that_is_not_loaded_are_refused(warehouse: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match=r"fact_sale has rows of 3 days .* first 2010-12-31"):
        load(warehouse, replace(GOLD, invoices=GOLD.of([FIRST]).invoices), [FIRST])


def test_a_missing_dimension_is_refused(warehouse: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="dim_product"):
        load(warehouse, replace(GOLD, dimensions={n: f for n, f in GOLD.dimensions.items() if n != "dim_product"}))


def test_an_unchanged_dimension_may_be_left_out(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    before, tables = content(warehouse), GOLD.of([FIRST]).tables
    del tables["dim_product"]
    left_alone = {"dim_product"}
    result = load_gold(warehouse, tables=tables, days=[FIRST], consumed={}, run_id="again", left_alone=left_alone)
    assert content(warehouse) == before
    assert result.changes["dim_product"] == UNTOUCHED


def test_a_load_without_facts_changes_its_tables_and_no_day_waits(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    before, waiting = content(warehouse), pending_days(warehouse)
    left_alone = {table.name for table in GOLD_TABLES if table is not DIM_INVOICE}
    cancelled = GOLD.tables["dim_invoice"].with_columns(is_cancelled=~pl.col("is_cancelled"))
    tables = {"dim_invoice": cancelled}
    result = load_gold(warehouse, tables=tables, days=GOLD.days, consumed={}, run_id="again", left_alone=left_alone)
    after = content(warehouse)
    assert (
        sorted(after.pop("dim_invoice"), key=lambda row: row[:2])
        == cancelled.select(warehouse_columns(DIM_INVOICE)).sort("sale_date", "invoice_key").rows()
    )
    assert after.items() <= before.items()
    assert result.changes["dim_invoice"] == Change(updated=cancelled.height)
    assert pending_days(warehouse) == waiting


def test_planner_knows_a_table_after_its_first_load(warehouse: psycopg.Connection) -> None:
    load(warehouse, GOLD)
    known = warehouse.execute("select distinct tablename from pg_stats where schemaname = 'gold'").fetchall()
    assert {"fact_sale", "fact_sale_2010_12", "dim_invoice", "dim_product"} <= {name for (name,) in known}

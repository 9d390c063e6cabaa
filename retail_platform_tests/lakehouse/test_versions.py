"""Time travel: what the log tells of versions, reads of older ones, and what a restore does to what depends on it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import BRONZE_DAYS, DIM_DATE, PRODUCT_MONTHS, SILVER_DAYS, SILVER_SALES
from retail_platform.contracts.silver import SilverSales
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake, VersionGoneError
from retail_platform.lakehouse.versions import RestoreError, history, restore
from retail_platform_tests.transforms.frames import silver_lines

JAN_1, JAN_2, FEB_1 = date(2011, 1, 1), date(2011, 1, 2), date(2011, 2, 1)
ALL = Days(JAN_1, date(2011, 3, 1))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, made_by="run 7")


def lines(quantities: Mapping[date, int]) -> pl.DataFrame:
    return silver_lines(*({"sale_date": day, "quantity": count} for day, count in quantities.items()))


def states(*days: date | None) -> pl.DataFrame:
    frame = pl.DataFrame({"sale_date": days}, schema={"sale_date": pl.Date})
    return frame.select(
        sale_month=pl.col("sale_date").dt.truncate("1mo"),
        sale_date="sale_date",
        rows=pl.lit(1, pl.Int64),
        fingerprint=pl.lit("newest"),
    )


def quantities(lake: Lake) -> dict[date, int]:
    return dict(lake.scan(SILVER_SALES).select("sale_date", "quantity").collect().iter_rows())


@pytest.fixture
def loaded(lake: Lake) -> Lake:
    """Silver in two versions of data: 1 as first run, 2 after a later one changed 2 January; states of the latter."""
    lake.replace_days(SILVER_SALES, lines({JAN_1: 1, JAN_2: 2, FEB_1: 3}), [ALL])
    lake.replace_days(SILVER_SALES, lines({JAN_2: 9}), [Days(JAN_2, JAN_2 + ONE_DAY)])
    lake.replace_days(SILVER_DAYS, states(JAN_1, JAN_2, FEB_1, None), [ALL], undated=True)
    return lake


def test_history_tells_what_each_version_did(loaded: Lake) -> None:
    newest, first, created = history(loaded, SILVER_SALES)
    assert (created.operation, created.days, created.rows_added) == ("CREATE TABLE", (), 0)
    assert (first.version, first.days, first.rows_added, first.rows_removed) == (1, (ALL,), 3, 0)
    assert (newest.rows_added, newest.rows_removed, newest.made_by) == (1, 1, "run 7")
    assert newest.days == (Days(JAN_2, JAN_2 + ONE_DAY),)
    assert timedelta(0) <= datetime.now(UTC) - newest.at < timedelta(minutes=1)
    assert history(loaded, SILVER_SALES, limit=1) == [newest]
    assert history(loaded, DIM_DATE) == []


def test_history_counts_no_row_of_maintenance(loaded: Lake) -> None:
    delta = DeltaTable(loaded.path(SILVER_SALES))
    delta.optimize.z_order(["sale_date"])
    delta.vacuum(0, dry_run=False, enforce_retention_duration=False)
    told = history(loaded, SILVER_SALES, limit=3)
    assert [each.operation for each in told] == ["VACUUM END", "VACUUM START", "OPTIMIZE"]
    assert {(each.days, each.rows_added, each.rows_removed) for each in told} == {((), 0, 0)}


def test_history_says_what_a_table_was_made_from(loaded: Lake) -> None:
    loaded.replace_months(PRODUCT_MONTHS, PRODUCT_MONTHS.empty(), [JAN_1], loaded.position(SILVER_SALES))
    assert history(loaded, PRODUCT_MONTHS)[0].made_from == {"silver.sales": 2}


def test_history_survives_a_checkpoint_that_replaced_the_older_log(loaded: Lake) -> None:
    path = loaded.path(SILVER_SALES)
    DeltaTable(path).create_checkpoint()
    for version in (0, 1):
        (path / "_delta_log" / f"{version:020}.json").unlink()
    loaded.replace_days(SILVER_SALES, lines({JAN_1: 5}), [Days(JAN_1, JAN_2)])
    newest, oldest = history(loaded, SILVER_SALES)
    assert (newest.rows_added, newest.rows_removed) == (1, 1)
    assert (oldest.rows_added, oldest.rows_removed) == (None, None)


def test_reads_as_of_a_version_and_a_moment(loaded: Lake) -> None:
    at = {each.version: each.at for each in history(loaded, SILVER_SALES)}
    for chosen in (1, at[2] - timedelta(milliseconds=1), at[1].replace(tzinfo=None)):
        days = Days(JAN_2, FEB_1)
        assert loaded.scan(SILVER_SALES, days, version=chosen).collect()["quantity"].to_list() == [2]
    assert loaded.version_at(SILVER_SALES, datetime.now(UTC)) == 2
    with pytest.raises(VersionGoneError, match="its log begins"):
        loaded.scan(SILVER_SALES, version=datetime(2000, 1, 1))
    with pytest.raises(VersionGoneError, match="has no version 9"):
        loaded.scan(SILVER_SALES, version=9)
    with pytest.raises(VersionGoneError, match="is empty"):
        loaded.version_at(DIM_DATE, datetime.now(UTC))


def test_a_restore_names_the_days_that_differ_and_withdraws_their_states(loaded: Lake) -> None:
    done = restore(loaded, SILVER_SALES, 1)
    assert (done.version, done.days) == (3, {JAN_2})
    assert quantities(loaded) == {JAN_1: 1, JAN_2: 2, FEB_1: 3}
    assert loaded.changed_days(SILVER_SALES, 2) == {JAN_2}
    assert set(loaded.day_states(SILVER_DAYS)) == {JAN_1, FEB_1, None}
    assert loaded.version(BRONZE_DAYS) is None
    told = history(loaded, SILVER_SALES, limit=1)[0]
    assert (told.operation, told.rows_added, told.rows_removed, told.made_by) == ("RESTORE", 1, 1, "run 7")


def test_a_restore_to_equal_rows_changes_nothing(loaded: Lake) -> None:
    loaded.replace_days(SILVER_SALES, lines({JAN_2: 9}), [Days(JAN_2, JAN_2 + ONE_DAY)])
    done = restore(loaded, SILVER_SALES, 2)
    assert (done.version, done.days, done.is_changed) == (3, frozenset(), False)
    assert len(loaded.day_states(SILVER_DAYS)) == 4


def test_a_restore_of_bronze_withdraws_bronze_s_states_too(loaded: Lake) -> None:
    loaded.replace_days(BRONZE_DAYS, states(JAN_1, JAN_2, None), [ALL], undated=True)
    bronze = replace(SILVER_SALES, layer="bronze")  # its rows do not matter here, its layer does
    loaded.replace_days(bronze, lines({JAN_1: 1}), [ALL])
    loaded.replace_days(bronze, lines({JAN_1: 2}), [ALL])
    restore(loaded, bronze, 1)
    assert set(loaded.day_states(BRONZE_DAYS)) == {JAN_2, None}
    assert set(loaded.day_states(SILVER_DAYS)) == {JAN_2, FEB_1, None}


def test_states_of_days_are_not_restored_by_themselves(loaded: Lake) -> None:
    for table in (BRONZE_DAYS, SILVER_DAYS):
        with pytest.raises(RestoreError, match=rf"Restore {table.layer}\.sales"):
            restore(loaded, table, 0)


def test_a_restored_table_is_made_from_what_it_was_made_from_then(lake: Lake) -> None:
    """Else its next run would take the sources' changes since for seen."""
    lake.replace_days(SILVER_SALES, lines({JAN_1: 1}), [ALL])
    months = pl.DataFrame({"sale_month": [JAN_1], "stock_code": ["a"]})
    first, second = (
        pl.concat([PRODUCT_MONTHS.empty(), months.with_columns(stock_code=pl.lit(code))], how="diagonal")
        for code in ("a", "b")
    )
    first_version = lake.replace_months(PRODUCT_MONTHS, first, [JAN_1], lake.position(SILVER_SALES))
    lake.replace_days(SILVER_SALES, lines({FEB_1: 2}), [Days(FEB_1, ALL.end)])
    sources = lake.position(SILVER_SALES) | lake.position(PRODUCT_MONTHS)
    lake.replace_months(PRODUCT_MONTHS, second, [JAN_1], sources)
    done = restore(lake, PRODUCT_MONTHS, first_version)
    assert done.days is None
    assert lake.consumed(PRODUCT_MONTHS, SILVER_SALES) == 1
    assert lake.changed_months(SILVER_SALES, lake.consumed(PRODUCT_MONTHS, SILVER_SALES)) == [FEB_1]
    assert lake.changed_days(PRODUCT_MONTHS, done.version - 1) == set(Days(JAN_1, FEB_1).every())
    since = lake.consumed(PRODUCT_MONTHS, PRODUCT_MONTHS)
    assert since == -1
    assert lake.changed_days(PRODUCT_MONTHS, since) == set(Days(JAN_1, FEB_1).every())


def test_after_a_restore_a_whole_table_is_unknown_and_its_note_is_gone(lake: Lake) -> None:
    lake.replace(DIM_DATE, DIM_DATE.empty(), note="one")
    version = lake.replace(DIM_DATE, DIM_DATE.empty().clear(1), note="two")
    done = restore(lake, DIM_DATE, 1)
    assert done.is_changed
    assert lake.changed_days(DIM_DATE, version) is None
    assert lake.note(DIM_DATE) is None


def test_a_vacuumed_version_is_refused_with_a_clear_word(loaded: Lake) -> None:
    DeltaTable(loaded.path(SILVER_SALES)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(VersionGoneError, match=r"Version 1 of silver\.sales is gone: 1 of its 2 files"):
        restore(loaded, SILVER_SALES, 1)
    assert quantities(loaded)[JAN_2] == 9
    assert len(loaded.day_states(SILVER_DAYS)) == 4


class GrownSales(SilverSales):
    """Silver in a later version of the platform."""

    remark: pl.String = pa.Field(nullable=True, description="A column that came later.")


def test_a_version_from_before_a_column_comes_back_with_it_null(loaded: Lake) -> None:
    grown = replace(SILVER_SALES, contract=GrownSales)
    newer = lines({JAN_2: 5}).with_columns(remark=pl.lit("late"))
    loaded.replace_days(grown, newer, [Days(JAN_2, JAN_2 + ONE_DAY)])
    assert restore(loaded, grown, 1).days == {JAN_2}
    assert loaded.scan(grown).select("remark").collect().to_series().to_list() == [None] * 3
    loaded.replace_days(grown, newer, [Days(JAN_2, JAN_2 + ONE_DAY)])
    assert loaded.scan(grown, Days(JAN_2, FEB_1)).collect()["remark"].to_list() == ["late"]

"""Upkeep on real Delta tables: rows, what is known of changes, and readers of older versions stay as they were."""

import os
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import DIM_DATE, PRODUCT_MONTHS, SILVER_SALES
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.maintenance import (
    STALE_SECONDS,
    compact,
    compress,
    crowded_months,
    extent,
    shorten_log,
    vacuum,
)
from retail_platform_tests.transforms.frames import silver_lines

JAN, FEB = date(2011, 1, 1), date(2011, 2, 1)
WEEK = 8 * 24 * 3600.0


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Silver as daily runs leave it: a file a day, the newest days of the month first."""
    lake = Lake(tmp_path, made_by="run 7")
    for day in [date(2011, 1, n) for n in (3, 2, 1)] + [FEB, FEB + ONE_DAY]:
        lines = silver_lines({"sale_date": day}, {"sale_date": day, "invoice_no": "2"})
        lake.replace_days(SILVER_SALES, lines, [Days(day, day + ONE_DAY)])
    return lake


def rows(lake: Lake) -> pl.DataFrame:
    return lake.scan(SILVER_SALES).collect().sort("sale_date", "invoice_no")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_closed_months_are_compacted_and_sorted_by_day(lake: Lake) -> None:
    before, version = rows(lake), lake.version(SILVER_SALES)
    assert crowded_months(lake, SILVER_SALES, FEB) == [JAN]
    done = compact(lake, SILVER_SALES, [JAN])
    assert (done.before.files, done.after.files) == (5, 3)
    assert done.before.rows == done.after.rows == 10
    assert crowded_months(lake, SILVER_SALES, FEB) == []
    assert rows(lake).equals(before)
    january = next(uri for uri in DeltaTable(lake.path(SILVER_SALES)).file_uris() if "2011-01" in uri)
    assert pq.read_table(january, partitioning=None)["sale_date"].to_pylist() == [
        day for day in Days(JAN, date(2011, 1, 4)).every() for _ in range(2)
    ]
    assert pq.read_metadata(january).row_group(0).column(0).compression == "SNAPPY"
    assert lake.changed_days(SILVER_SALES, version) == set()


def test_how_closed_months_are_compressed_is_the_table_s(lake: Lake) -> None:
    version = lake.version(SILVER_SALES)
    compress(lake, SILVER_SALES, "ZSTD")
    assert lake.changed_days(SILVER_SALES, version) == set()
    compact(lake, SILVER_SALES, [JAN])
    january = next(uri for uri in DeltaTable(lake.path(SILVER_SALES)).file_uris() if "2011-01" in uri)
    assert pq.read_metadata(january).row_group(0).column(0).compression == "ZSTD"


def test_nothing_to_compact_makes_no_commit(lake: Lake) -> None:
    version = lake.version(SILVER_SALES)
    assert crowded_months(lake, SILVER_SALES, JAN) == []
    assert compact(lake, SILVER_SALES, []).before == extent(lake, SILVER_SALES)
    assert lake.version(SILVER_SALES) == version
    assert crowded_months(lake, DIM_DATE, FEB) == []


def test_a_table_without_days_keeps_the_order_of_its_rows(lake: Lake) -> None:
    frame = pl.concat(
        [PRODUCT_MONTHS.empty(), pl.DataFrame({"sale_month": [JAN] * 2, "stock_code": ["b", "a"]})], how="diagonal"
    )
    lake.replace_months(PRODUCT_MONTHS, frame, [JAN])
    compact(lake, PRODUCT_MONTHS, [JAN])
    assert lake.scan(PRODUCT_MONTHS).collect()["stock_code"].to_list() == ["b", "a"]


def test_vacuum_removes_what_no_version_of_the_last_week_names(lake: Lake) -> None:
    compact(lake, SILVER_SALES, [JAN])
    path = lake.path(SILVER_SALES)
    month = path / "sale_month=2011-01-01"
    orphan, young = month / "of-a-killed-run.parquet", month / "being-written.parquet"
    for file in (orphan, young):
        file.write_bytes(b"x")
    age(orphan, WEEK)
    done = vacuum(lake, SILVER_SALES)
    assert (done.before.files, done.after.files) == (8, 7)
    assert not orphan.exists()
    assert young.exists()
    assert lake.scan(SILVER_SALES, version=1).collect().height == 2


def test_vacuum_removes_staged_folders_that_were_left_behind(lake: Lake) -> None:
    old, new = (lake.path(SILVER_SALES) / f"staging-{name}" for name in ("old", "new"))
    for folder in (old, new):
        (folder / "sale_month=2011-01-01").mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        (folder / "sale_month=2011-01-01" / "a.parquet").write_bytes(b"x")
    age(old, STALE_SECONDS + 60)
    vacuum(lake, SILVER_SALES)
    assert not old.exists()
    assert new.exists()


def test_vacuum_without_anything_to_remove_makes_no_commit(lake: Lake) -> None:
    version = lake.version(SILVER_SALES)
    assert vacuum(lake, SILVER_SALES).seconds > 0
    assert lake.version(SILVER_SALES) == version


def test_a_reader_goes_on_with_the_version_it_began_with(lake: Lake) -> None:
    reading, expected = lake.scan(SILVER_SALES), rows(lake)
    compact(lake, SILVER_SALES, [JAN])
    vacuum(lake, SILVER_SALES)
    shorten_log(lake, SILVER_SALES)
    assert reading.collect().sort("sale_date", "invoice_no").equals(expected)


def test_the_log_is_summed_up_and_freed_of_what_is_old(lake: Lake) -> None:
    log, version = lake.path(SILVER_SALES) / "_delta_log", lake.version(SILVER_SALES)
    DeltaTable(lake.path(SILVER_SALES), version=3).create_checkpoint()
    for written in [*sorted(log.glob("*.json"))[:4], log / f"{3:020}.checkpoint.parquet"]:
        age(written, timedelta(days=40).total_seconds())
    expected = rows(lake)
    done = shorten_log(lake, SILVER_SALES)
    assert (done.before.files, done.after.files) == (8, 6)
    assert (log / f"{version:020}.checkpoint.parquet").exists()
    assert not (log / f"{0:020}.json").exists()
    assert rows(lake).equals(expected)
    assert lake.changed_days(SILVER_SALES, 1) is None
    again = shorten_log(lake, SILVER_SALES)
    assert again.before == again.after


def test_maintenance_changes_no_row_and_forgets_nothing(lake: Lake) -> None:
    """Also not what the rows were made from and by: else every table would be made again after each maintenance."""
    lake.replace(DIM_DATE, DIM_DATE.empty(), consumed=lake.position(SILVER_SALES), note="made so")
    version = lake.version(DIM_DATE)
    (lake.path(DIM_DATE) / "orphan.parquet").write_bytes(b"x")
    age(lake.path(DIM_DATE) / "orphan.parquet", WEEK)
    vacuum(lake, DIM_DATE)
    shorten_log(lake, DIM_DATE)
    assert version is not None
    assert lake.version(DIM_DATE) == version + 2
    assert lake.note(DIM_DATE) == "made so"
    assert lake.consumed(DIM_DATE, SILVER_SALES) == lake.version(SILVER_SALES)
    assert lake.changed_days(DIM_DATE, version) == set()


def test_delta_names_operations_as_the_lake_knows_them(lake: Lake) -> None:
    """What else deltalake writes is taken for a change of rows."""
    delta = DeltaTable(lake.path(SILVER_SALES))
    delta.optimize.compact()
    delta.optimize.z_order(["sale_date"])
    delta.vacuum(0, dry_run=False, enforce_retention_duration=False)
    delta.alter.set_table_properties({"delta.appendOnly": "false"})
    delta.delete("invoice_no = '2'")
    delta.restore(0)
    told = [commit["operation"] for commit in DeltaTable(lake.path(SILVER_SALES)).history(7)]
    assert told == [
        "RESTORE",
        "DELETE",
        "SET TBLPROPERTIES",
        "VACUUM END",
        "VACUUM START",
        "OPTIMIZE",
        "OPTIMIZE",
    ]

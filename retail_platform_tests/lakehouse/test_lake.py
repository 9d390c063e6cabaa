from dataclasses import replace
from datetime import date
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import BRONZE_DAYS, DIM_DATE, PRODUCT_MONTHS
from retail_platform.contracts.bronze import BronzeDays
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake

JAN, FEB = date(2011, 1, 1), date(2011, 2, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def days(*rows: tuple[date | None, str]) -> pl.DataFrame:
    frame = pl.DataFrame(
        [(day, 1, text) for day, text in rows],
        schema={"sale_date": pl.Date, "rows": pl.Int64, "fingerprint": pl.String},
        orient="row",
    )
    return frame.with_columns(sale_month=pl.col("sale_date").dt.truncate("1mo")).select(list(BRONZE_DAYS.schema))


def content(lake: Lake) -> dict[date | None, str]:
    return dict(lake.scan(BRONZE_DAYS).select("sale_date", "fingerprint").collect().iter_rows())


def test_a_table_never_written_is_empty_with_its_columns(lake: Lake) -> None:
    assert lake.scan(BRONZE_DAYS).collect().schema == BRONZE_DAYS.schema
    assert lake.version(BRONZE_DAYS) is None
    assert lake.months(BRONZE_DAYS) == []


def test_a_day_is_replaced_and_its_neighbours_stay(lake: Lake) -> None:
    first, second = date(2011, 1, 30), date(2011, 1, 31)
    lake.replace_days(BRONZE_DAYS, days((first, "a"), (second, "b")), [Days(first, FEB)])
    lake.replace_days(BRONZE_DAYS, days((second, "c")), [Days(second, FEB)])
    assert content(lake) == {first: "a", second: "c"}
    lake.replace_days(BRONZE_DAYS, BRONZE_DAYS.empty(), [Days(first, second)])
    assert content(lake) == {second: "c"}


def test_writing_twice_changes_nothing(lake: Lake) -> None:
    frame = days((JAN, "a"), (FEB, "b"))
    for _ in range(2):
        lake.replace_days(BRONZE_DAYS, frame, [Days(JAN, date(2011, 3, 1))])
    assert lake.scan(BRONZE_DAYS).collect().sort("sale_date").equals(frame)


def test_rows_without_a_day_are_a_part_of_their_own(lake: Lake) -> None:
    lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)])
    lake.replace_days(BRONZE_DAYS, days((JAN, "b"), (None, "w")), [Days(JAN, FEB)], undated=True)
    lake.replace_days(BRONZE_DAYS, days((None, "x")), [Days(FEB, date(2011, 3, 1))], undated=True)
    assert content(lake) == {JAN: "b", None: "x"}
    assert lake.scan_undated(BRONZE_DAYS).collect().height == 1
    assert lake.scan(BRONZE_DAYS, Days(JAN, FEB)).collect().height == 1


def test_changed_days_are_those_replaced_since(lake: Lake) -> None:
    version = lake.replace_days(BRONZE_DAYS, days((JAN, "a"), (FEB, "b")), [Days(JAN, date(2011, 2, 2))])
    assert lake.changed_days(BRONZE_DAYS, version) == set()
    lake.replace_days(BRONZE_DAYS, days((FEB, "c")), [Days(FEB, date(2011, 2, 2))])
    assert lake.changed_days(BRONZE_DAYS, version) == {FEB}
    assert lake.changed_months(BRONZE_DAYS, version) == [FEB]


def test_changed_days_survive_compaction_and_are_unknown_without_a_start(lake: Lake) -> None:
    version = lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)])
    DeltaTable(lake.path(BRONZE_DAYS)).optimize.compact()
    lake.replace_days(BRONZE_DAYS, days((JAN, "b")), [Days(JAN, date(2011, 1, 2))])
    assert lake.changed_days(BRONZE_DAYS, version) == {JAN}
    assert lake.changed_days(BRONZE_DAYS, None) is None
    assert lake.changed_months(BRONZE_DAYS, None) == [JAN]


def test_a_write_that_does_not_say_its_days_makes_them_unknown(lake: Lake) -> None:
    version = lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)])
    DeltaTable(lake.path(BRONZE_DAYS)).delete("fingerprint = 'a'")
    assert lake.changed_days(BRONZE_DAYS, version) is None


def test_consumed_is_the_position_of_that_very_table(lake: Lake, tmp_path: Path) -> None:
    lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)])
    lake.replace_months(PRODUCT_MONTHS, PRODUCT_MONTHS.empty(), [JAN], lake.position(BRONZE_DAYS))
    assert lake.consumed(PRODUCT_MONTHS, BRONZE_DAYS) == lake.version(BRONZE_DAYS)
    (tmp_path / "bronze").rename(tmp_path / "old")
    lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)])
    assert lake.consumed(PRODUCT_MONTHS, BRONZE_DAYS) is None


def test_replacing_a_whole_table_by_itself_makes_no_commit(lake: Lake) -> None:
    frame = DIM_DATE.empty()
    version = lake.replace(DIM_DATE, frame)
    assert lake.replace(DIM_DATE, frame) == version


def test_a_note_is_told_until_the_next_commit(lake: Lake) -> None:
    frame = DIM_DATE.empty()
    assert lake.note(DIM_DATE) is None
    version = lake.replace(DIM_DATE, frame, note="one")
    assert lake.replace(DIM_DATE, frame, note="one") == version
    assert lake.note(DIM_DATE) == "one"
    assert lake.replace(DIM_DATE, frame, note="two") == version + 1
    assert lake.note(DIM_DATE) == "two"
    lake.replace(DIM_DATE, frame)
    assert lake.note(DIM_DATE) is None


def test_months_are_read_from_the_log(lake: Lake) -> None:
    lake.replace_days(BRONZE_DAYS, days((JAN, "a"), (FEB, "b")), [Days(JAN, date(2011, 3, 1))])
    lake.replace_days(BRONZE_DAYS, days((None, "x")), [Days(date(2012, 1, 1), date(2012, 1, 2))], undated=True)
    assert lake.months(BRONZE_DAYS) == [JAN, FEB]


class GrownDays(BronzeDays):
    """The days of bronze in a later version of the platform."""

    remark: pl.String = pa.Field(nullable=True, description="A column that came later.")


def test_a_column_that_came_later_is_null_in_older_rows(lake: Lake) -> None:
    grown = replace(BRONZE_DAYS, contract=GrownDays)
    version = lake.replace_days(BRONZE_DAYS, days((JAN, "a"), (FEB, "b")), [Days(JAN, date(2011, 3, 1))])
    remarks = pl.col("sale_date", "remark")
    assert lake.scan(grown).select(remarks).sort("sale_date").collect().rows() == [(JAN, None), (FEB, None)]
    newer = days((FEB, "c")).with_columns(remark=pl.lit("late"))
    lake.replace_days(grown, newer, [Days(FEB, date(2011, 3, 1))])
    assert lake.scan(grown).select(remarks).sort("sale_date").collect().rows() == [(JAN, None), (FEB, "late")]
    assert lake.changed_months(grown, version) == [FEB]


def test_the_log_tells_rows_newest_day_and_groups_of_months(lake: Lake) -> None:
    assert (lake.row_count(BRONZE_DAYS), lake.newest_day(BRONZE_DAYS), lake.month_groups(BRONZE_DAYS, 9)) == (
        0,
        None,
        [],
    )
    march = date(2011, 3, 1)
    rows = days((JAN, "a"), (date(2011, 1, 9), "b"), (FEB, "c"), (march, "d"))
    lake.replace_days(BRONZE_DAYS, rows, [Days(JAN, date(2011, 4, 1))])
    assert (lake.row_count(BRONZE_DAYS), lake.newest_day(BRONZE_DAYS)) == (4, march)
    assert lake.month_groups(BRONZE_DAYS, 3) == [[JAN, FEB], [march]]
    assert lake.month_groups(BRONZE_DAYS, 1) == [[JAN], [FEB], [march]]
    assert lake.month_groups(BRONZE_DAYS, 9, Days(FEB, march)) == [[FEB]]


def test_rows_are_added_and_replaced_by_a_condition(lake: Lake) -> None:
    lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)], note="by hand")
    added = lake.add(BRONZE_DAYS, days((FEB, "b")), [Days(FEB, date(2011, 2, 2))], note="added")
    assert (content(lake), lake.note(BRONZE_DAYS)) == ({JAN: "a", FEB: "b"}, "added")
    lake.replace_where(BRONZE_DAYS, days((FEB, "c")), "sale_date >= '2011-02-01'", [Days(FEB, date(2011, 2, 2))], {})
    assert content(lake) == {JAN: "a", FEB: "c"}
    assert lake.changed_days(BRONZE_DAYS, added) == {FEB}


def test_maintenance_does_not_hide_a_note(lake: Lake) -> None:
    lake.replace_days(BRONZE_DAYS, days((JAN, "a")), [Days(JAN, FEB)], note="by hand")
    DeltaTable(lake.path(BRONZE_DAYS)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert lake.note(BRONZE_DAYS) == "by hand"

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import BRONZE_DAYS
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import CHANGED_DAYS, Lake
from retail_platform.lakehouse.transactions import NO_MONTH, ReplacedMeanwhileError, Replacement, file_stats
from retail_platform_tests.lakehouse.test_lake import content, days

JAN, FEB, MAR = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
OLD = [(date(2011, 1, 10), "a"), (date(2011, 1, 20), "b"), (FEB, "c"), (None, "w")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    lake.replace_days(BRONZE_DAYS, days(*OLD), [Days(JAN, MAR)], undated=True)
    return lake


def write(replacement: Replacement, *rows: tuple[date | None, str], name: str = "part-0") -> None:
    """Write files as a writer that is not Delta's does: in folders by month, of which the files say nothing."""
    for (month,), part in days(*rows).partition_by("sale_month", as_dict=True).items():
        folder = replacement.folder / f"sale_month={month or NO_MONTH}"
        folder.mkdir(parents=True, exist_ok=True)
        part.drop("sale_month").write_parquet(folder / f"{name}.parquet")


def names(lake: Lake, *ranges: Days, undated: bool = False) -> list[Days | None]:
    return [file.span for file in lake.files(BRONZE_DAYS, ranges, undated=undated)]


def test_only_files_that_span_a_day_hold_it(lake: Lake) -> None:
    january = Days(date(2011, 1, 10), date(2011, 1, 21))
    assert [file.span for file in lake.files(BRONZE_DAYS)] == [january, Days(FEB, date(2011, 2, 2)), None]
    assert [file.rows for file in lake.files(BRONZE_DAYS)] == [2, 1, 1]
    assert names(lake, Days(date(2011, 1, 15), date(2011, 1, 16))) == [january]
    assert names(lake, Days(date(2011, 1, 21), FEB), Days(date(2011, 2, 2), MAR)) == []
    assert names(lake, Days(JAN, date(2011, 1, 10)), undated=True) == [None]


def test_files_of_a_table_never_written_are_none(tmp_path: Path) -> None:
    assert Lake(tmp_path).files(BRONZE_DAYS) == []
    Lake(tmp_path).begin_replacement(BRONZE_DAYS, [Days(JAN, FEB)])
    assert Lake(tmp_path).files(BRONZE_DAYS) == []


def test_staged_files_are_not_seen_until_they_are_committed(lake: Lake) -> None:
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(JAN, FEB)])
    write(replacement, (date(2011, 1, 5), "new"))
    assert content(lake) == {day: text for day, text in OLD}
    version = lake.version(BRONZE_DAYS)
    assert lake.commit_replacement(replacement, {"source": 7}) == (version or 0) + 1 == lake.version(BRONZE_DAYS)
    assert content(lake) == {date(2011, 1, 5): "new", FEB: "c", None: "w"}
    table = DeltaTable(lake.path(BRONZE_DAYS))
    assert table.history(1)[0][CHANGED_DAYS] == '[["2011-01-01", "2011-02-01"]]'
    assert table.transaction_version("source") == 7
    assert lake.changed_days(BRONZE_DAYS, version) == set(Days(JAN, FEB).every())
    assert not replacement.folder.exists()


def test_an_edge_file_is_named_so_that_its_other_rows_come_along(lake: Lake) -> None:
    inside = lake.begin_replacement(BRONZE_DAYS, [Days(date(2011, 1, 10), date(2011, 1, 21))])
    assert inside.mixed == []
    across = lake.begin_replacement(BRONZE_DAYS, [Days(date(2011, 1, 20), MAR)], undated=True)
    assert [file.span for file in across.mixed] == [Days(date(2011, 1, 10), date(2011, 1, 21))]
    assert len(across.replaced) == 3
    write(across, (date(2011, 1, 10), "a"), (FEB, "n"), (None, "u"))
    lake.commit_replacement(across)
    assert content(lake) == {date(2011, 1, 10): "a", FEB: "n", None: "u"}


def test_days_without_rows_are_emptied(lake: Lake) -> None:
    lake.commit_replacement(lake.begin_replacement(BRONZE_DAYS, [Days(FEB, MAR)]))
    assert content(lake) == {date(2011, 1, 10): "a", date(2011, 1, 20): "b", None: "w"}


def test_a_commit_of_other_days_between_changes_nothing(lake: Lake) -> None:
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(FEB, MAR)])
    write(replacement, (FEB, "new"))
    lake.replace_days(BRONZE_DAYS, days((JAN, "x")), [Days(JAN, FEB)])
    lake.commit_replacement(replacement)
    assert content(lake) == {JAN: "x", FEB: "new", None: "w"}


@pytest.mark.parametrize("row", [(date(2011, 2, 1), "changed"), (date(2011, 2, 20), "added")])
def test_a_commit_of_the_same_days_between_is_not_overwritten(lake: Lake, row: tuple[date, str]) -> None:
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(FEB, MAR)])
    write(replacement, (FEB, "late"))
    lake.replace_days(BRONZE_DAYS, days(row), [Days(row[0], MAR)])
    before = content(lake)
    with pytest.raises(ReplacedMeanwhileError, match="run it again"):
        lake.commit_replacement(replacement)
    assert content(lake) == before


def test_the_same_replacement_committed_twice_does_not_double(lake: Lake) -> None:
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(FEB, MAR)])
    write(replacement, (FEB, "new"))
    lake.commit_replacement(replacement)
    with pytest.raises(ReplacedMeanwhileError):
        lake.commit_replacement(replacement)
    assert lake.scan(BRONZE_DAYS, Days(FEB, MAR)).collect().height == 1


@pytest.fixture
def old_files(lake: Lake) -> list[Path]:
    """A staging folder as a killed process leaves it, ten days old; with its scratch folder and its hidden files."""
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(JAN, FEB)])
    write(replacement, (JAN, "never"))
    scratch = replacement.folder / "_temporary" / "0" / "sale_month=2011-01-01"
    scratch.mkdir(parents=True)
    (scratch / "part-1.parquet").write_bytes(b"PAR1")
    (scratch / ".part-1.parquet.crc").write_bytes(b"crc")
    files = [path for path in replacement.folder.rglob("*") if path.is_file()]
    for file in files:
        os.utime(file, times=(file.stat().st_mtime - 10 * 86400,) * 2)
    return files


def test_vacuum_removes_what_was_never_committed_after_the_retention(lake: Lake, old_files: list[Path]) -> None:
    fresh = lake.begin_replacement(BRONZE_DAYS, [Days(JAN, FEB)])
    write(fresh, (JAN, "now"))
    DeltaTable(lake.path(BRONZE_DAYS)).vacuum(dry_run=False, full=True)
    assert [file for file in old_files if file.exists()] == []
    assert len(fresh.files()) == 1
    lake.commit_replacement(fresh)
    assert content(lake)[JAN] == "now"


def test_stats_tell_the_ends_that_are_exact_in_the_log(tmp_path: Path) -> None:
    times = [datetime(2011, 1, 1, 9, 30, 0, 5), datetime(2011, 1, 2)]
    frame = pl.DataFrame(
        {
            "day": [date(2011, 1, 2), None],
            "at": times,
            "seen": pl.Series(times).dt.replace_time_zone("UTC"),
            "text": ["b", "a"],
            "count": [3, 2],
            "amount": pl.Series([Decimal("0.1"), Decimal("0.2")], dtype=pl.Decimal(18, 4)),
            "nothing": pl.Series([None, None], dtype=pl.Int32),
        }
    )
    frame.write_parquet(tmp_path / "one.parquet", row_group_size=1)
    stats = file_stats(tmp_path / "one.parquet")
    assert stats["numRecords"] == 2
    assert stats["nullCount"] == {name: 0 for name in frame.columns} | {"day": 1, "nothing": 2}
    assert stats["minValues"] == {
        "day": "2011-01-02",
        "at": "2011-01-01T09:30:00.000005",
        "seen": "2011-01-01T09:30:00.000005Z",
        "text": "a",
        "count": 2,
    }
    assert stats["maxValues"]["seen"] == datetime(2011, 1, 2, tzinfo=UTC).isoformat().replace("+00:00", "Z")


def test_readers_leave_committed_files_out_by_their_stats(lake: Lake) -> None:
    replacement = lake.begin_replacement(BRONZE_DAYS, [Days(JAN, FEB)])
    write(replacement, (date(2011, 1, 5), "early"), name="part-0")
    write(replacement, (date(2011, 1, 25), "later"), name="part-1")
    lake.commit_replacement(replacement)
    assert names(lake, Days(date(2011, 1, 20), FEB)) == [Days(date(2011, 1, 25), date(2011, 1, 26))]
    lake.replace_days(BRONZE_DAYS, days((date(2011, 1, 25), "z")), [Days(date(2011, 1, 25), FEB)])
    assert content(lake)[date(2011, 1, 5)] == "early"

"""The layout advisor: what the numbers ask for, and on real Delta tables that only what wins is done."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from retail_platform.contracts import DIM_DATE, SILVER_DAYS, SILVER_SALES
from retail_platform.lakehouse import layout, maintenance
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.layout import DataFile, Layout, Reads, advise, propose, wins
from retail_platform.lakehouse.maintenance import compression_of
from retail_platform_tests.transforms.frames import silver_lines

JAN, FEB = date(2011, 1, 1), date(2011, 2, 1)
MIB = 2**20
READS = Reads(1.0, 1000, 10)


def file(month: date | None, size: int) -> DataFile:
    return DataFile(Path("f"), month, size, 10, None, None)


def laid(*files: DataFile) -> Layout:
    months = len({each.month for each in files if each.month})
    return Layout(months, len(files), sum(each.size for each in files), 0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("files", "unsorted", "loose", "kind"),
    [
        ([file(JAN, 40 * MIB)] * 2, [], [], "compact"),
        ([file(JAN, 70 * MIB)] * 2, [], [], None),
        ([file(JAN, 100 * MIB), file(FEB, 100 * MIB)], [JAN], [FEB], "sort"),
        ([file(JAN, 1000), file(FEB, 1000)], [], [JAN], "unpartition"),
        ([file(JAN, 1000)], [], [], None),
        ([file(JAN, MIB), file(FEB, MIB)], [], [JAN], "compress"),
        ([file(None, 1000)] * 9, [], [], None),
    ],
)
def test_what_the_numbers_ask_for(
    files: list[DataFile], unsorted: list[date], loose: list[date], kind: str | None
) -> None:
    proposal = propose(files, laid(*files), unsorted, loose)
    assert (proposal and proposal.kind) == kind


@pytest.mark.parametrize(
    ("after", "won"),
    [
        (Reads(0.9, 1000, 10), True),
        (Reads(1.05, 900, 10), True),
        (Reads(0.95, 950, 1), False),
        (Reads(1.2, 500, 10), False),
        (Reads(0.5, 1200, 10), True),
    ],
)
def test_a_proposal_wins_by_time_or_by_bytes_in_the_same_time(after: Reads, won: bool) -> None:
    assert wins(READS, after) is won


def test_a_file_is_opened_for_the_days_that_it_spans() -> None:
    spanning = DataFile(Path("f"), JAN, 1, 1, date(2011, 1, 5), date(2011, 1, 7))
    assert spanning.holds(Days(date(2011, 1, 7), date(2011, 1, 8)))
    assert not spanning.holds(Days(date(2011, 1, 8), date(2011, 1, 9)))
    assert DataFile(Path("f"), JAN, 1, 1, None, None).holds(Days(date(2011, 1, 31), FEB))
    assert not DataFile(Path("f"), JAN, 1, 1, None, None).holds(Days(FEB, FEB + ONE_DAY))


def lines(day: date, count: int) -> pl.DataFrame:
    return pl.concat([silver_lines({"sale_date": day})] * count).with_columns(
        invoice_no=pl.int_range(pl.len()).cast(pl.String)
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """January in a file a day, February open."""
    lake = Lake(tmp_path)
    for day in [JAN + timedelta(days=n) for n in range(31)] + [FEB]:
        lake.replace_days(SILVER_SALES, lines(day, 200), [Days(day, day + ONE_DAY)])
    lake.replace(DIM_DATE, DIM_DATE.empty())
    return lake


def test_a_proposal_that_wins_is_applied_when_asked(lake: Lake) -> None:
    before, version = lake.scan(SILVER_SALES).collect().sort(pl.all()), lake.version(SILVER_SALES)
    (advice, whole) = advise(lake, [SILVER_SALES, DIM_DATE, SILVER_DAYS])
    assert advice.proposal is not None
    assert advice.proposal.kind == "compact"
    assert advice.proposal.why.startswith("31 files of ")
    assert (advice.before and advice.before.files, advice.after and advice.after.files) == (41, 5)
    assert (advice.verdict, whole.verdict) == ("worth it", "as it should be")
    assert lake.version(SILVER_SALES) == version
    (advice,) = advise(lake, [SILVER_SALES], apply=True)
    assert advice.verdict == "applied"
    assert (advice.row["files"], advice.row["files now"]) == (31, 2)
    assert lake.scan(SILVER_SALES).collect().sort(pl.all()).equals(before)
    assert lake.changed_days(SILVER_SALES, version) == set()


def test_a_proposal_that_does_not_win_is_told_and_not_applied(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "WIN", 0.0)  # nothing is that quick
    version = lake.version(SILVER_SALES)
    (advice,) = advise(lake, [SILVER_SALES], apply=True)
    assert advice.verdict == "not worth it"
    assert lake.version(SILVER_SALES) == version


def test_unsorted_months_are_found_and_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows are read as quickly either way: that it wins is said here, and measured on the real data."""
    monkeypatch.setattr(layout, "wins", lambda before, after: True)
    for module in (layout, maintenance):
        monkeypatch.setattr(module, "group_rows", lambda rows: 100)
    lake = Lake(tmp_path)
    mixed = pl.concat([lines(JAN + timedelta(days=n), 100) for n in range(31)]).sample(fraction=1, shuffle=True, seed=1)
    lake.replace_days(SILVER_SALES, mixed, [Days(JAN, FEB)])
    lake.replace_days(SILVER_SALES, lines(FEB, 1), [Days(FEB, FEB + ONE_DAY)])
    (advice,) = advise(lake, [SILVER_SALES], apply=True)
    assert advice.proposal is not None
    assert advice.proposal.kind == "sort"
    assert advice.layout.day_share > 10
    assert advice.verdict == "applied"
    (again,) = advise(lake, [SILVER_SALES])
    assert again.proposal is not None
    assert again.proposal.kind == "compress"


def test_denser_compression_is_kept_for_months_to_come(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    advise(lake, [SILVER_SALES], apply=True)
    monkeypatch.setattr(layout, "SMALL_BYTES", 0)
    monkeypatch.setattr(layout, "wins", lambda before, after: True)
    (advice,) = advise(lake, [SILVER_SALES], apply=True)
    assert advice.proposal is not None
    assert advice.proposal.kind == "compress"
    delta = lake.open(SILVER_SALES)
    assert delta is not None
    assert compression_of(delta) == "ZSTD"
    (again,) = advise(lake, [SILVER_SALES])
    assert again.verdict == "as it should be"

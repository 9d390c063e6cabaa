"""Every engine of this process reads the same from a Delta table, and shows the same rows in it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from deltalake import CommitProperties, write_deltalake

from retail_platform.contracts import BRONZE_DAYS, DIM_DATE, SILVER_REJECTS, Table
from retail_platform.engines.base import Engine
from retail_platform.engines.duckdb import DuckDBEngine
from retail_platform.engines.pandas import PandasEngine
from retail_platform.engines.polars import PolarsEngine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import CHANGED_DAYS, Lake

JAN, FEB, MAR = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
LAST_OF_JAN = date(2011, 1, 31)


@pytest.fixture(params=["polars", "duckdb", "pandas"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = {
        "polars": PolarsEngine,
        "duckdb": lambda: DuckDBEngine(2**28, tmp_path / "spill"),
        "pandas": PandasEngine,
    }
    with made[request.param]() as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def rejects(*rows: tuple[date | None, str]) -> pl.DataFrame:
    """Rejected rows of some days, each known by its invoice."""
    moment = datetime(2011, 3, 5, 12, 30, tzinfo=UTC)
    given = [
        {
            "sale_date": day,
            "sale_month": day and day.replace(day=1),
            "invoice_no": name,
            "source_row": number,
            "ingested_at": moment,
            "reason": "zero_price",
        }
        for number, (day, name) in enumerate(rows)
    ]
    return frame_of(SILVER_REJECTS, given)


def frame_of(table: Table, rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.schema} for row in rows], schema=table.schema)


def read(engine: Engine, frame: nw.LazyFrame, table: Table) -> pl.DataFrame:
    collected = engine.collect(frame, table.schema)
    assert collected.schema == table.schema
    return collected.sort(table.key)


def names(engine: Engine, lake: Lake, days: Days | list[Days] | None = None, **options: object) -> list[str]:
    frame = engine.scan(lake, SILVER_REJECTS, days, **options)
    return sorted(read(engine, frame, SILVER_REJECTS)["invoice_no"])


def test_a_table_is_read_as_it_was_written(engine: Engine, lake: Lake) -> None:
    rows = rejects((JAN, "a"), (LAST_OF_JAN, "b"), (FEB, "c"), (None, "d"))
    lake.replace_days(SILVER_REJECTS, rows, [Days(JAN, MAR)], undated=True)
    assert read(engine, engine.scan(lake, SILVER_REJECTS), SILVER_REJECTS).equals(rows.sort(SILVER_REJECTS.key))
    assert names(engine, lake, Days(LAST_OF_JAN, FEB)) == ["b"]
    assert names(engine, lake, [Days(JAN, LAST_OF_JAN), Days(FEB, MAR)]) == ["a", "c"]
    assert names(engine, lake, Days(FEB, MAR), undated=True) == ["c", "d"]
    assert names(engine, lake, [], undated=True) == ["d"]
    assert names(engine, lake, Days(MAR, date(2011, 4, 1))) == []


def test_a_table_never_written_has_no_rows(engine: Engine, lake: Lake) -> None:
    assert names(engine, lake, Days(JAN, MAR)) == []
    assert read(engine, engine.scan(lake, DIM_DATE), DIM_DATE).is_empty()


def test_a_column_that_came_later_is_null_in_older_files(engine: Engine, lake: Lake) -> None:
    """Files of before the column and of after it are read together, and apart."""
    older = rejects((JAN, "a"))
    properties = CommitProperties(custom_metadata={CHANGED_DAYS: "[]"})
    path = lake.path(SILVER_REJECTS)
    write_deltalake(path, older.drop("reason"), partition_by="sale_month", commit_properties=properties)
    assert read(engine, engine.scan(lake, SILVER_REJECTS), SILVER_REJECTS)["reason"].to_list() == [None]
    lake.replace_days(SILVER_REJECTS, rejects((FEB, "b")), [Days(FEB, MAR)])
    both = read(engine, engine.scan(lake, SILVER_REJECTS, Days(JAN, MAR)), SILVER_REJECTS)
    assert both.sort("sale_date").select("invoice_no", "reason").rows() == [("a", None), ("b", "zero_price")]
    assert read(engine, engine.scan(lake, SILVER_REJECTS, Days(JAN, FEB)), SILVER_REJECTS)["reason"].to_list() == [None]


def test_an_older_version_is_read(engine: Engine, lake: Lake) -> None:
    before = lake.replace_days(SILVER_REJECTS, rejects((JAN, "a"), (None, "x")), [Days(JAN, FEB)], undated=True)
    lake.replace_days(SILVER_REJECTS, rejects((JAN, "b"), (None, "y")), [Days(JAN, FEB)], undated=True)
    assert names(engine, lake) == ["b", "y"]
    assert names(engine, lake, version=before) == ["a", "x"]
    assert names(engine, lake, Days(JAN, FEB), undated=True, version=before) == ["a", "x"]


def test_rows_are_seen_when_they_are_committed(engine: Engine, lake: Lake) -> None:
    lake.replace_days(SILVER_REJECTS, rejects((JAN, "a"), (FEB, "b"), (None, "c")), [Days(JAN, MAR)], undated=True)
    lines = engine.persist(engine.scan(lake, SILVER_REJECTS, Days(JAN, FEB), undated=True))
    renamed = lines.with_columns(invoice_no=nw.concat_str(nw.col("invoice_no"), nw.lit("2")))
    staged = engine.stage(renamed, lake, SILVER_REJECTS, [Days(JAN, FEB)], undated=True)
    assert sorted(staged.rows()["invoice_no"]) == ["a2", "c2"]
    assert staged.rows([Days(JAN, FEB)])["invoice_no"].to_list() == ["a2"]
    assert sorted(staged.rows([Days(JAN, FEB)], undated=True)["invoice_no"]) == ["a2", "c2"]
    assert names(engine, lake) == ["a", "b", "c"]
    version = staged.commit()
    assert version == lake.version(SILVER_REJECTS)
    assert names(engine, lake) == ["a2", "b", "c2"]


def test_a_commit_says_what_was_consumed(engine: Engine, lake: Lake) -> None:
    lake.replace_days(SILVER_REJECTS, rejects((JAN, "a")), [Days(JAN, FEB)])
    state = frame_of(BRONZE_DAYS, [{"sale_month": JAN, "sale_date": JAN, "rows": 1, "fingerprint": "f"}])
    position = lake.position(SILVER_REJECTS)
    engine.stage(engine.lazy(state), lake, BRONZE_DAYS, [Days(JAN, FEB)]).commit(position)
    assert lake.consumed(BRONZE_DAYS, SILVER_REJECTS) == lake.version(SILVER_REJECTS)
    assert lake.changed_days(BRONZE_DAYS, 0) == set(Days(JAN, FEB).every())


def test_rows_handed_over_are_joined(engine: Engine, lake: Lake) -> None:
    lake.replace_days(SILVER_REJECTS, rejects((JAN, "a"), (JAN, "b")), [Days(JAN, FEB)])
    ranks = engine.lazy(pl.DataFrame({"invoice_no": ["b", None], "rank": [7, 8]}))
    joined = engine.scan(lake, SILVER_REJECTS).join(ranks, on="invoice_no", how="left").select("invoice_no", "rank")
    schema = pl.Schema({"invoice_no": pl.String, "rank": pl.Int32})
    assert engine.collect(joined, schema).sort("invoice_no").rows() == [("a", None), ("b", 7)]


@pytest.mark.parametrize("left_behind", ["", "999999999-gone"], ids=["new home", "after a kill"])
def test_duckdb_spills_and_leaves_nothing_behind(tmp_path: Path, left_behind: str) -> None:
    """A sort of 160 MB in 64 MB of memory; what killed processes left is removed at the next start."""
    spill = tmp_path / "home" / "spill"
    if left_behind:
        (spill / left_behind).mkdir(parents=True)
    count = 10_000_000
    with DuckDBEngine(2**26, spill) as engine:
        assert [folder.name for folder in spill.iterdir() if folder.name.startswith("999999999")] == []
        rows = engine.lazy(pl.DataFrame({"a": pl.int_range(count, eager=True)}).with_columns(b=pl.col("a").hash(1)))
        ordered = engine.persist(rows.sort("b"))
        assert engine.collect(ordered.select(nw.len())).item() == count
        assert sum(file.stat().st_size for file in spill.rglob("*.tmp")) > 0
    assert list(spill.iterdir()) == []

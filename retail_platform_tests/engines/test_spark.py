import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import BRONZE_DAYS, DIM_DATE, FACT_SALE, SILVER_SALES
from retail_platform.engines.base import EngineError
from retail_platform.engines.polars import PolarsEngine
from retail_platform.engines.spark import LOCAL, SparkEngine, spark_session
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.transactions import STAGING, ReplacedMeanwhileError
from retail_platform.settings import Settings
from retail_platform_tests.engines.chain import facts_of, land_sample, run_chain
from retail_platform_tests.lakehouse.test_lake import content, days

JAN, FEB, MAR = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
OLD = [(date(2011, 1, 10), "a"), (date(2011, 1, 20), "b"), (FEB, "c"), (None, "w")]
MASTER, MEMORY = LOCAL, 2**30


@pytest.fixture
def engine() -> Iterator[SparkEngine]:
    with SparkEngine(MASTER, MEMORY) as engine:
        yield engine


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    lake.replace_days(BRONZE_DAYS, days(*OLD), [Days(JAN, MAR)], undated=True)
    return lake


def read(engine: SparkEngine, frame: nw.LazyFrame) -> dict[date | None, str]:
    return dict(engine.collect(frame, BRONZE_DAYS.schema).select("sale_date", "fingerprint").iter_rows())


def files_read(frame: nw.LazyFrame) -> int:
    return len(frame.to_native().inputFiles())


@pytest.mark.parametrize(
    ("ranges", "undated"),
    [
        (None, False),
        (Days(date(2011, 1, 15), MAR), False),
        ([Days(JAN, date(2011, 1, 11)), Days(FEB, MAR)], True),
    ],
)
def test_a_scan_reads_what_polars_reads(engine: SparkEngine, lake: Lake, ranges: list[Days], undated: bool) -> None:
    frame, expected = (
        each.collect(each.scan(lake, BRONZE_DAYS, ranges, undated=undated), BRONZE_DAYS.schema)
        for each in (engine, PolarsEngine())
    )
    assert frame.sort("sale_date").equals(expected.sort("sale_date"))


def test_a_scan_of_no_days_reads_at_most_the_rows_without_one(engine: SparkEngine, lake: Lake) -> None:
    assert read(engine, engine.scan(lake, BRONZE_DAYS, [])) == {}
    assert read(engine, engine.scan(lake, BRONZE_DAYS, [], undated=True)) == {None: "w"}


def test_a_scan_opens_only_the_files_that_hold_the_days(engine: SparkEngine, lake: Lake) -> None:
    lake.replace_days(BRONZE_DAYS, days((date(2011, 3, 5), "m")), [Days(MAR, date(2011, 4, 1))])
    assert files_read(engine.scan(lake, BRONZE_DAYS)) == 4
    assert files_read(engine.scan(lake, BRONZE_DAYS, Days(date(2011, 1, 15), date(2011, 2, 2)))) == 2
    assert files_read(engine.scan(lake, BRONZE_DAYS, [Days(MAR, date(2011, 3, 2))])) == 0
    assert files_read(engine.scan(lake, BRONZE_DAYS, [Days(FEB, MAR)], undated=True)) == 2


def test_a_scan_reads_old_versions_and_tables_never_written(engine: SparkEngine, lake: Lake) -> None:
    before = lake.version(BRONZE_DAYS)
    lake.replace_days(BRONZE_DAYS, days((FEB, "new")), [Days(FEB, MAR)])
    assert read(engine, engine.scan(lake, BRONZE_DAYS, [Days(FEB, MAR)], version=before)) == {FEB: "c"}
    assert read(engine, engine.scan(lake, BRONZE_DAYS, [Days(FEB, MAR)])) == {FEB: "new"}
    assert engine.collect(engine.scan(lake, DIM_DATE), DIM_DATE.schema).equals(DIM_DATE.empty())


def test_a_column_that_came_later_is_null(engine: SparkEngine, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    old = FACT_SALE.schema.to_frame().drop("total_amount_eur")
    row = {"sale_month": JAN, "sale_date": JAN, "sale_id": "1", "unit_price": Decimal("1.2500")}
    values = pl.DataFrame([row], schema_overrides=FACT_SALE.schema)
    first = pl.concat([old, values], how="diagonal_relaxed").cast(dict(old.schema))
    folder = lake.path(FACT_SALE)
    first.write_delta(folder, delta_write_options={"partition_by": ["sale_month"]})
    frame = engine.collect(engine.scan(lake, FACT_SALE, Days(JAN, FEB)), FACT_SALE.schema)
    assert frame.equals(pl.concat([FACT_SALE.empty(), first], how="diagonal"))


def test_rows_go_in_and_out_as_they_are(engine: SparkEngine) -> None:
    frame = pl.DataFrame(
        {
            "day": [date(2011, 1, 2), None],
            "local": [datetime(2011, 3, 27, 1, 30, 0, 5), None],
            "moment": pl.Series([datetime(2011, 3, 27, 1, 30, tzinfo=UTC), None]),
            "text": ["ä", None],
            "count": pl.Series([1, None], dtype=pl.Int32),
            "amount": pl.Series([Decimal("-99999999999999.9999"), None], dtype=pl.Decimal(18, 4)),
            "flag": [True, None],
            "share": [0.1, None],
        }
    )
    assert engine.collect(engine.lazy(frame), frame.schema).equals(frame)
    assert engine.collect(engine.lazy(frame.clear())).schema == frame.schema
    counted = engine.collect(engine.lazy(pl.DataFrame({"n": [1]}, schema={"n": pl.UInt32})))
    assert counted["n"].to_list() == [1]


def test_what_is_persisted_is_computed_once_and_let_go(lake: Lake) -> None:
    with SparkEngine(MASTER, MEMORY) as engine:
        kept = engine.persist(engine.scan(lake, BRONZE_DAYS))
        assert read(engine, kept) == dict(OLD)
        for file in lake.files(BRONZE_DAYS):
            file.path.unlink()
        assert read(engine, kept) == dict(OLD)
        assert kept.to_native().is_cached
    assert not kept.to_native().is_cached


def test_staged_rows_are_looked_at_and_then_committed(engine: SparkEngine, lake: Lake) -> None:
    new = days((date(2011, 1, 15), "x"), (date(2011, 2, 3), "y"), (None, "u"))
    staged = engine.stage(engine.lazy(new), lake, BRONZE_DAYS, [Days(date(2011, 1, 15), MAR)], undated=True)
    assert content(lake) == dict(OLD)
    assert staged.rows().sort("sale_date").equals(new.sort("sale_date"))
    assert staged.rows([Days(FEB, MAR)])["fingerprint"].to_list() == ["y"]
    assert sorted(staged.rows([Days(FEB, MAR)], undated=True)["fingerprint"]) == ["u", "y"]
    before = lake.version(BRONZE_DAYS)
    assert staged.commit({"source": 3}) == lake.version(BRONZE_DAYS)
    # The day before the range was in the same file.
    assert content(lake) == {date(2011, 1, 10): "a", date(2011, 1, 15): "x", date(2011, 2, 3): "y", None: "u"}
    assert lake.scan(BRONZE_DAYS).collect().height == 4
    assert lake.changed_days(BRONZE_DAYS, before) == set(Days(date(2011, 1, 15), MAR).every())
    assert DeltaTable(lake.path(BRONZE_DAYS)).transaction_version("source") == 3
    assert read(engine, engine.scan(lake, BRONZE_DAYS)) == content(lake)


def test_days_that_have_no_rows_any_more_are_emptied(engine: SparkEngine, lake: Lake) -> None:
    staged = engine.stage(engine.lazy(BRONZE_DAYS.empty()), lake, BRONZE_DAYS, [Days(JAN, FEB)])
    assert staged.rows().equals(BRONZE_DAYS.empty())
    staged.commit()
    assert content(lake) == {FEB: "c", None: "w"}


def test_staged_again_it_replaces_itself_and_beside_another_commit_it_fails(engine: SparkEngine, lake: Lake) -> None:
    new = engine.lazy(days((date(2011, 1, 12), "x")))
    first = engine.stage(new, lake, BRONZE_DAYS, [Days(JAN, FEB)])
    second = engine.stage(new, lake, BRONZE_DAYS, [Days(JAN, FEB)])
    first.commit()
    with pytest.raises(ReplacedMeanwhileError):
        second.commit()
    engine.stage(new, lake, BRONZE_DAYS, [Days(JAN, FEB)]).commit()
    assert lake.scan(BRONZE_DAYS, Days(JAN, FEB)).collect().height == 1


def test_what_is_not_committed_is_removed_when_the_engine_closes(lake: Lake) -> None:
    with SparkEngine(MASTER, MEMORY) as engine:
        engine.stage(engine.lazy(days((JAN, "x"))), lake, BRONZE_DAYS, [Days(JAN, FEB)])
        assert list(lake.path(BRONZE_DAYS).glob(f"{STAGING}*"))
    assert not list(lake.path(BRONZE_DAYS).glob(f"{STAGING}*"))
    assert content(lake) == dict(OLD)


def test_a_month_is_a_file_sorted_by_day(engine: SparkEngine, lake: Lake) -> None:
    many = [(date(2011, 1 + n % 2, 1 + n % 28), str(n)) for n in range(0, 1000, 7)]
    staged = engine.stage(engine.lazy(days(*many)), lake, BRONZE_DAYS, [Days(JAN, MAR)])
    staged.commit()
    files = lake.files(BRONZE_DAYS, [Days(JAN, MAR)])
    assert [file.month for file in files] == [JAN, FEB]
    assert all(pl.read_parquet(file.path)["sale_date"].is_sorted() for file in files)


def test_facts_join_their_dimensions_by_broadcast_and_read_their_months_only(
    engine: SparkEngine, tmp_path: Path
) -> None:
    settings, lake = Settings(home=tmp_path / "home", mappings=None), Lake(tmp_path / "lake")
    settings.landing.mkdir(parents=True)
    land_sample(settings, 5_000, days=70)
    with PolarsEngine() as polars:
        run_chain(settings, lake, polars)
    assert len(lake.months(SILVER_SALES)) == 3
    january = Days(date(2010, 1, 1), date(2010, 2, 1))
    facts = facts_of(lake, engine, january).to_native()
    rows = facts.toArrow().num_rows
    assert rows == lake.scan(FACT_SALE, january).collect().height
    final, _, _ = facts._jdf.queryExecution().executedPlan().toString().partition("== Initial Plan ==")
    joins = re.findall(r"(\w+Join) \[(\w+)#\d+", final)
    assert {name for name, _ in joins} == {"BroadcastHashJoin"}
    assert {"stock_code", "customer_id", "country"} <= {column for _, column in joins}
    assert all("sale_month=2010-01-01" in file for file in facts.inputFiles())


def test_another_master_needs_another_process(engine: SparkEngine) -> None:
    assert spark_session(MASTER, MEMORY) is engine.session
    with pytest.raises(EngineError, match=r"local\[\*\] already"):
        spark_session("local[1]", MEMORY)


def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EngineError, match="install a JRE"):
        spark_session(MASTER, MEMORY)


def test_without_a_cluster_it_says_so() -> None:
    with pytest.raises(EngineError, match="RETAIL_SPARK_MASTER"):
        spark_session("spark://127.0.0.1:1", MEMORY)


def test_without_pyspark_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pyspark'] = None; import retail_platform.engines.spark"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert "pip install 'retail-platform[spark]'" in found.stderr.splitlines()[-1]

"""The command's answers to what people type, on a platform without data; whole runs are in integration/."""

import json
from datetime import date
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from retail_platform.cli import land, main
from retail_platform.contracts import SILVER_SALES
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.transforms.frames import silver_lines


@pytest.fixture
def home(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETAIL_HOME", str(tmp_path))
    monkeypatch.setenv("RETAIL_DATABASE_URL", database.url())
    monkeypatch.setenv("RETAIL_DAGSTER_DATABASE_URL", database.url())
    return tmp_path


def retail(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_sql_answers_as_table_json_and_csv(home: Path) -> None:
    query = "select 1 as n, 2.50::numeric(18, 4) as amount, null as nothing"
    assert "2.5000" in retail("sql", query).stdout
    assert json.loads(retail("sql", query, "--json").stdout) == [{"n": 1, "amount": "2.5000", "nothing": None}]
    assert retail("sql", query, "--csv").stdout == "n,amount,nothing\n1,2.5000,\n"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select from where", "syntax error"),
        ("create table public.t (n int)", "read-only transaction"),
        ("set statement_timeout = 1", "gives no rows"),
    ],
)
def test_sql_says_why_it_refuses(home: Path, query: str, message: str) -> None:
    result = retail("sql", query)
    assert result.exit_code == 1
    assert message in result.output


def test_run_refuses_days_that_cannot_be(home: Path) -> None:
    backwards = retail("run", "--from", "2011-02-01", "--to", "2011-01-01")
    assert backwards.exit_code == 2
    assert "before --from" in backwards.output
    early = retail("run", "--from", "2001-02-01", "--to", "2011-01-01")
    assert early.exit_code == 2
    assert "first day, 2009-12-01" in early.output


def test_a_column_has_one_new_value() -> None:
    twice = retail("rejects", "amend", "a", "--by", "b", "--why", "c", "--set", "unit_price=1", "--set", "unit_price=2")
    assert twice.exit_code == 2
    assert "names a column twice" in twice.output


def test_demo_names_the_files_that_are_missing(home: Path) -> None:
    result = retail("demo", "--input", f"{home}/a.csv,{home}/b.csv")
    assert result.exit_code == 2
    assert f"{home}/a.csv" in result.output.replace("\n", "")


def test_rebuild_without_a_delivery_says_what_to_do(home: Path) -> None:
    result = retail("rebuild")
    assert result.exit_code == 1
    assert "land a file first" in result.output


def test_status_of_an_empty_platform(home: Path) -> None:
    result = retail("status")
    assert result.exit_code == 0, result.output
    assert "days waiting for a run" in result.output


def test_landing_keeps_the_modification_time_and_leaves_no_part(tmp_path: Path) -> None:
    source = tmp_path / "sales.csv"
    source.write_text("Invoice\n")
    settings = Settings(home=tmp_path / "home", mappings=None)
    land(settings, [source])
    landed = settings.landing / "sales.csv"
    assert landed.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert [path.name for path in settings.landing.iterdir()] == ["sales.csv"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = [tmp_path / folder / "sales.csv" for folder in ("a", "b")]
    for source in sources:
        source.parent.mkdir()
        source.write_text("Invoice\n")
    settings = Settings(home=tmp_path / "home", mappings=None)
    with pytest.raises(click.BadParameter, match="given twice"):
        land(settings, sources)
    assert not settings.landing.exists()


def test_features_of_a_day_that_the_lake_does_not_hold(home: Path) -> None:
    empty = retail("features", "--as-of", "2011-06-15", "--output", f"{home}/f.parquet")
    assert empty.exit_code == 1
    assert "the lake holds no sale yet" in empty.output
    nowhere = retail("features", "--as-of", "2011-06-15", "--output", f"{home}/none/f.parquet")
    assert nowhere.exit_code == 2
    assert "no such folder" in nowhere.output.replace("\n", "")

    lines = silver_lines({"sale_date": date(2011, 1, 10)}, {"sale_date": date(2011, 2, 20), "invoice_no": "2"})
    Lake(Settings(home=home).lake).replace_months(SILVER_SALES, lines, [date(2011, 1, 1), date(2011, 2, 1)])
    late = retail("features", "--as-of", "2011-02-21", "--output", f"{home}/f.parquet")
    assert late.exit_code == 1
    assert "sales of 2011-01-10 to 2011-02-20" in late.output.replace("\n", " ")
    days = ("--as-of", "2011-02-20", "--as-of", "2011-01-31")
    assert retail("features", *days, "--output", f"{home}/f.parquet").exit_code == 0
    written = pl.read_parquet(home / "f.parquet").select("as_of_date", "customer_id", "order_count_all")
    assert written.rows() == [(date(2011, 1, 31), "13085", 1), (date(2011, 2, 20), "13085", 2)]
    assert retail("features", *days, "--of", "products", "--output", f"{home}/p.parquet").exit_code == 0
    assert pl.read_parquet(home / "p.parquet")["order_count_all"].to_list() == [1, 2]


@pytest.fixture
def two_versions(home: Path) -> Lake:
    """Silver of 10 January, which a second version changed."""
    lake, day = Lake(Settings(home=home).lake), date(2011, 1, 10)
    for quantity in (1, 2):
        lines = silver_lines({"sale_date": day, "quantity": quantity})
        lake.replace_days(SILVER_SALES, lines, [Days(day, day + ONE_DAY)])
    return lake


def test_lake_history_lists_the_versions(two_versions: Lake) -> None:
    told = retail("lake", "history", "silver/sales", "--limit", "1").stdout.splitlines()
    assert told[0].startswith("version  time (UTC)")
    assert told[1].split()[0] == "2"
    assert told[1].split()[3:] == ["WRITE", "2011-01-10", "1", "1"]
    assert "was never written" in retail("lake", "history", "gold.dim_date").stdout


def test_lake_read_shows_and_writes_older_rows(two_versions: Lake, home: Path) -> None:
    assert "1 of 1 rows\nsilver.sales, version 2\n" in retail("lake", "read", "silver.sales").stdout
    for name, read in (("old.parquet", pl.read_parquet), ("old.csv", pl.read_csv)):
        done = retail("lake", "read", "silver.sales", "--version", "1", "--output", f"{home}/{name}")
        assert done.exit_code == 0, done.output
        assert read(home / name)["quantity"].to_list() == [1]
    some_day = ("lake", "read", "silver.sales", "--from", "2011-01-11", "--to", "2011-01-31")
    assert "0 of 0 rows" in retail(*some_day).stdout
    early = retail("lake", "read", "silver.sales", "--at", "2001-01-01")
    assert early.exit_code == 1
    assert "no version as old as 2001-01-01" in early.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("read", "silver.nothing"), "no table 'silver.nothing'; there are bronze.sales"),
        (("read", "silver.sales", "--version", "9"), "has no version 9"),
        (("read", "gold.dim_date", "--from", "2011-01-01"), "has no days to choose from"),
        (("read", "silver.sales", "--output", "a.xlsx"), ".parquet or .csv"),
        (("restore", "silver.sales"), "--version N or --at TIME"),
        (("restore", "silver.days", "--version", "0"), "Restore silver.sales"),
    ],
)
def test_lake_says_why_it_refuses(two_versions: Lake, arguments: tuple[str, ...], message: str) -> None:
    result = retail("lake", *arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())


def test_lake_restore_says_what_to_run_next(two_versions: Lake) -> None:
    done = retail("lake", "restore", "silver.sales", "--version", "1")
    assert done.exit_code == 0, done.output
    assert "holds the rows of version 1 again, as version 3." in done.stdout
    assert "1 days differ. They wait for a run" in done.stdout
    assert two_versions.scan(SILVER_SALES).collect()["quantity"].to_list() == [1]
    again = retail("lake", "restore", "silver.sales", "--version", "1")
    assert "nothing was changed" in again.stdout

"""The dbt project, built by dbt on PostgreSQL from a gold worked out by hand."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dbt.cli.main import dbtRunner
from psycopg import sql

from retail_platform.contracts import GOLD_TABLES
from retail_platform.contracts.gold import SEGMENTS
from retail_platform.contracts.silver import LINE_TYPES
from retail_platform.defs.marts import lacks_columns
from retail_platform.settings import CHECKOUT
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import prepare_warehouse
from retail_platform_tests.dbt.gold import BRITAIN, FRANCE, LINES, Line, load

PROJECT = CHECKOUT / "dbt_project"
MARTS = (
    "category_sales",
    "cohort_retention",
    "country_sales",
    "cross_sell",
    "customer_lifetime",
    "customer_segments",
    "daily_sales",
    "forecast_accuracy",
    "kpi_overview",
    "monthly_sales",
    "product_classes",
    "product_performance",
    "quality_trend",
    "revenue_outlook",
    "sales_by_period",
    "segment_transitions",
)
DAYS = {line.sale_date for line in LINES}
DECEMBER, JANUARY, MARCH = date(2010, 12, 1), date(2011, 1, 1), date(2011, 3, 1)


@dataclass(frozen=True)
class Project:
    """The project with one warehouse; dbt writes to a folder of its own."""

    database: Database
    target: Path

    def run(self, *arguments: str, **environment: str) -> Any:
        """Run a dbt command in this process; its result, failed or not."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.database.environment(), **environment}.items():
                patch.setenv(name, value)
            folders = ("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT))
            outputs = ("--target-path", str(self.target), "--log-path", str(self.target))
            return dbtRunner().invoke([*arguments, *folders, *outputs, "--quiet"])

    def build(self, *arguments: str, **environment: str) -> Any:
        """Build everything but unit tests, as the platform does; fails the test when anything fails."""
        result = self.run("build", "--exclude-resource-type", "unit_test", *arguments, **environment)
        assert result.success, [result.exception, *failures(result)]
        return result

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.database.connect() as connection:
            return connection.execute(query).fetchall()

    def marts(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every mart."""
        return {mart: self.ask(f"select * from marts_build.{mart} as t order by t::text") for mart in MARTS}


def failures(result: Any) -> list[tuple[str, str]]:
    """The names of the nodes that failed, with their messages."""
    good = ("success", "pass", "no-op")
    return [(node.node.name, str(node.message)) for node in result.result or () if node.status not in good]


@contextmanager
def new_database(database: Database) -> Iterator[Database]:
    """An empty database on the session's server, dropped at the end."""
    fresh = replace(database, dbname=f"dbt_{uuid4().hex}")
    name = sql.Identifier(fresh.dbname)
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(name))
        yield fresh
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture(scope="module")
def built(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project built on the gold of `LINES`; tests read it only."""
    with new_database(database) as fresh:
        load(fresh, LINES, DAYS)
        project = Project(fresh, tmp_path_factory.mktemp("built"))
        project.build()
        yield project


@pytest.fixture(scope="module")
def manifest(built: Project) -> Any:
    """What dbt knows of the project."""
    return built.run("parse").result


@pytest.fixture(scope="module")
def scratch(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project with a warehouse that tests change; one for all of them, as dbt parses anew for another address."""
    with new_database(database) as fresh:
        yield Project(fresh, tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def project(scratch: Project) -> Project:
    """The project with an empty warehouse."""
    with scratch.database.connect() as connection:
        connection.execute(
            "drop schema if exists gold, platform, staging, intermediate, marts_build, marts, snapshots cascade"
        )
    return scratch


def money(*values: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if value is None else Decimal(value) for value in values)


def test_daily_sales(built: Project) -> None:
    columns = (
        "sale_date, net_revenue, product_revenue, postage_revenue, discount_revenue, gross_revenue, cancelled_amount,"
        "avg_order_value, order_count, guest_order_count, cancelled_order_count, customer_count, line_count, unit_count"
    )
    assert built.ask(f"select {columns} from marts_build.daily_sales order by sale_date") == [
        (date(2010, 12, 30), *money("20.1234", "17.1234", "3", "0", "20.1234", "0", "10.0617"), 2, 1, 0, 1, 3, 6),
        (date(2011, 1, 4), *money("-10", "-10", "0", "0", "0", "-10", None), 0, 0, 1, 0, 1, -4),
        (date(2011, 1, 5), *money("16.25", "16.25", "0", "0", "16.25", "0", "8.125"), 2, 0, 0, 2, 3, 13),
        (date(2011, 3, 31), *money("4", "4.5", "0", "-0.5", "4", "0", "4"), 1, 0, 0, 1, 2, 2),
    ]


def test_amounts_in_other_currencies(built: Project) -> None:
    """A sum is null where a part of it is: 4 January has no rate of the dollar, and so has no longer span with it."""
    of_span = {
        "daily_sales": "sale_date",
        "monthly_sales": "sale_month",
        "sales_by_period where granularity = 'QUARTERLY'": "period",
    }
    found = {
        mart.partition(" ")[0]: built.ask(
            f"select {span}, net_revenue_eur, net_revenue_usd from marts_build.{mart} order by 1"
        )
        for mart, span in of_span.items()
    }
    december, march = money("40.2468", "60.3702"), money("8", "12")
    assert found["daily_sales"] == [
        (date(2010, 12, 30), *december),
        (date(2011, 1, 4), *money("-20", None)),
        (date(2011, 1, 5), *money("32.5", "48.75")),
        (date(2011, 3, 31), *march),
    ]
    assert found["monthly_sales"] == [(DECEMBER, *december), (JANUARY, *money("12.5", None)), (MARCH, *march)]
    assert found["sales_by_period"] == [(date(2010, 10, 1), *december), (JANUARY, *money("20.5", None))]
    by_country = "select country_code, net_revenue_eur, net_revenue_usd from marts_build.country_sales"
    assert built.ask(f"{by_country} where sale_month = '{JANUARY}' order by 1") == [
        ("FR", *money("28", "42")),
        ("GB", *money("-15.5", None)),
    ]


def test_amounts_of_products_customers_and_cohorts(built: Project) -> None:
    """The cancellation of 4 January is of customer 1, cohort of December, and of the mug, which has no category."""
    amounts = "net_revenue_eur, net_revenue_usd from marts_build"
    assert built.ask(f"select stock_code, {amounts}.product_performance order by 1") == [
        ("10001", *money("12.5", None)),
        ("10002", *money("43.2468", "64.8702")),
    ]
    assert built.ask(f"select subcategory, {amounts}.category_sales where sale_month = '{JANUARY}' order by 1") == [
        ("Cutlery & Servers", *money("20", "30")),
        ("unclassified", *money("-7.5", None)),
    ]
    for query in ("customer_id, {}.customer_lifetime order by 1", "rfm_segment, {}.customer_segments order by 1"):
        assert [row[1:] for row in built.ask(f"select {query.format(amounts)}")] == [
            money("10.5", None),
            money("36", "54"),
        ]
    cohort = f"select month_number, {amounts}.cohort_retention where cohort_month = '{DECEMBER}' order by 1"
    assert built.ask(cohort) == [
        (0, *money("26", "39")),
        (1, *money("-15.5", None)),
        (2, *money("0", "0")),
        (3, *money("0", "0")),
    ]
    today = "select metric, value from marts_build.kpi_overview where period = 'today' and unit in ('eur', 'usd')"
    assert built.ask(f"{today} order by 1") == [("net_revenue_eur", Decimal(8)), ("net_revenue_usd", Decimal(12))]


def test_a_new_column_of_months_is_filled_for_every_day(project: Project) -> None:
    load(project.database, LINES, DAYS)
    project.build()
    expected, manifest = project.marts(), json.loads((project.target / "manifest.json").read_bytes())
    with project.database.connect() as connection:
        assert not lacks_columns(connection, manifest)
        connection.execute("alter table intermediate.int_products__summed_by_month drop column net_revenue_eur")
        assert lacks_columns(connection, manifest)
    project.build()
    assert project.marts() == expected


def test_category_sales(built: Project) -> None:
    """The mug has no category; the share is of the month's products."""
    columns = "sale_month, subcategory, subcategory_description, product_count, line_count, unit_count, net_revenue"
    cutlery = ("Cutlery & Servers", "Cutlery, chopsticks, spoons, salad servers.", 1)
    unclassified = ("unclassified", None, 1)
    assert built.ask(f"select {columns} from marts_build.category_sales order by 1, 2") == [
        (DECEMBER, *cutlery, 1, 1, *money("7.1234")),
        (DECEMBER, *unclassified, 1, 4, *money("10")),
        (JANUARY, *cutlery, 1, 10, *money("10")),
        (JANUARY, *unclassified, 3, -1, *money("-3.75")),
        (MARCH, *cutlery, 1, 3, *money("4.5")),
    ]


def test_monthly_sales(built: Project) -> None:
    columns = (
        "sale_month, fiscal_year, fiscal_quarter, is_closed, trading_day_count, customer_count, new_customer_count,"
        "net_revenue, previous_month_change_pct, previous_year_change_pct"
    )
    assert built.ask(f"select {columns} from marts_build.monthly_sales order by sale_month") == [
        (DECEMBER, 2011, 3, True, 1, 1, 1, *money("20.1234", None, None)),
        (JANUARY, 2011, 4, True, 2, 2, 1, *money("6.25", "-68.9416", None)),
        (MARCH, 2011, 4, False, 1, 1, 0, *money("4", None, None)),
    ]


def test_sales_by_period(built: Project) -> None:
    """Customer 2 buys in January and in March: one customer of the quarter, and two orders."""
    columns = "period, period_to, is_closed, order_count, customer_count, line_count, net_revenue"
    query = f"select {columns} from marts_build.sales_by_period where granularity = '%s' order by period"
    week = (date(2011, 1, 3), date(2011, 1, 10), True, 2, 2, 4, *money("6.25"))
    assert week in built.ask(query % "WEEKLY")
    assert built.ask(query % "QUARTERLY") == [
        (date(2010, 10, 1), JANUARY, True, 2, 1, 3, *money("20.1234")),
        (JANUARY, date(2011, 4, 1), False, 3, 2, 6, *money("10.25")),
    ]
    assert built.ask("select count(*) from marts_build.sales_by_period") == [(4 + 3 + 3 + 2 + 2,)]


def test_country_sales(built: Project) -> None:
    columns = "sale_month, country_key, country_code, customer_count, net_revenue, net_revenue_share_pct"
    assert built.ask(f"select {columns} from marts_build.country_sales order by sale_month, country_key") == [
        (DECEMBER, BRITAIN, "GB", 1, *money("13", "64.6014")),
        (DECEMBER, FRANCE, "FR", 0, *money("7.1234", "35.3986")),
        (JANUARY, BRITAIN, "GB", 1, *money("-7.75", "-124")),
        (JANUARY, FRANCE, "FR", 1, *money("14", "224")),
        (MARCH, BRITAIN, "GB", 1, *money("4", "100")),
    ]


def test_customer_lifetime(built: Project) -> None:
    columns = (
        "customer_id, rfm_segment, as_of_date, first_order_date, last_order_date, order_count, cancelled_order_count,"
        "total_spent, net_revenue, product_revenue, avg_order_value, tenure_days, recency_days"
    )
    today = date(2011, 3, 31)
    first = (date(2010, 12, 30), date(2011, 1, 5), 2, 1, *money("15.25", "5.25", "2.25", "7.625"), 91, 85)
    second = (date(2011, 1, 5), today, 2, 0, *money("18", "18", "18.5", "9"), 85, 0)
    assert built.ask(f"select {columns} from marts_build.customer_lifetime order by customer_id") == [
        ("1", "Champions", today, *first),
        ("2", "Others", today, *second),
    ]


def test_customer_segments(built: Project) -> None:
    columns = (
        "rfm_segment, customer_count, customer_share_pct, net_revenue, net_revenue_share_pct, avg_lifetime_value,"
        "avg_order_value, avg_recency_days"
    )
    assert built.ask(f"select {columns} from marts_build.customer_segments order by rfm_segment") == [
        ("Champions", 1, *money("50", "5.25", "22.5806", "5.25", "7.625", "85")),
        ("Others", 1, *money("50", "18", "77.4194", "18", "9", "0")),
    ]


def test_product_performance(built: Project) -> None:
    columns = (
        "stock_code, description, order_count, customer_count, sold_unit_count, returned_unit_count, revenue_rank,"
        "abc_class, first_sale_date, last_sale_date, net_revenue, return_rate_pct, avg_unit_price, revenue_share_pct,"
        "cumulative_share_pct"
    )
    lamp = (date(2010, 12, 30), date(2011, 3, 31), *money("21.6234", "0", "1.5445", "77.5772", "77.5772"))
    mug = (date(2010, 12, 30), date(2011, 1, 5), *money("6.25", "57.1429", "2.3214", "22.4228", "100"))
    assert built.ask(f"select {columns} from marts_build.product_performance order by revenue_rank") == [
        ("10002", "LAMP", 3, 1, 14, 0, 1, "A", *lamp),
        ("10001", "MUG", 3, 2, 7, 4, 2, "A", *mug),
    ]


def test_cohort_retention(built: Project) -> None:
    columns = (
        "cohort_month, month_number, is_closed, cohort_size, active_customer_count, retention_pct, net_revenue,"
        "revenue_retention_pct, avg_lifetime_value"
    )
    assert built.ask(f"select {columns} from marts_build.cohort_retention order by 1, 2") == [
        (DECEMBER, 0, True, 1, 1, *money("100", "13", "100", "13")),
        (DECEMBER, 1, True, 1, 1, *money("100", "-7.75", "-59.6154", "5.25")),
        (DECEMBER, 2, True, 1, 0, *money("0", "0", "0", "5.25")),
        (DECEMBER, 3, False, 1, 0, *money("0", "0", "0", "5.25")),
        (JANUARY, 0, True, 1, 1, *money("100", "14", "100", "14")),
        (JANUARY, 1, True, 1, 0, *money("0", "0", "0", "14")),
        (JANUARY, 2, False, 1, 1, *money("100", "4", "28.5714", "18")),
    ]


def test_segment_transitions(built: Project) -> None:
    """Customer 1 is known from December, customer 2 from January; March is open."""
    columns = "sale_month, from_segment, to_segment, customer_count, from_share_pct, net_revenue, next_month_revenue"
    nobody, new, others, february = "Not Yet a Customer", "New Customers", "Others", date(2011, 2, 1)
    assert built.ask(f"select {columns} from marts_build.segment_transitions order by 1, 2, 3") == [
        (DECEMBER, nobody, new, 1, *money("100", "13", "-7.75")),
        (JANUARY, new, others, 1, *money("100", "-7.75", "0")),
        (JANUARY, nobody, new, 1, *money("100", "14", "0")),
        (february, new, others, 1, *money("100", "0", None)),
        (february, others, others, 1, *money("100", "0", None)),
    ]


def test_a_close_that_is_missing_or_lost_a_customer_is_reported(project: Project) -> None:
    load(project.database, LINES, DAYS)
    with project.database.connect() as connection:
        connection.execute("delete from gold.customer_segment_month where as_of_date = '2011-01-31'")
        connection.execute("delete from gold.customer_segment_month where customer_id = '2'")
    result = project.run("build", "--exclude-resource-type", "unit_test")
    assert {name for name, _ in failures(result) if name.startswith("assert_")} == {
        "assert_transitions_hold_every_known_customer",
        "assert_transitions_start_where_the_month_before_ended",
    }


def test_kpi_spans_end_on_the_newest_day(built: Project) -> None:
    """31 March is compared with whole February; 2010 is not in gold from its start, so the year is not compared."""
    columns = "period, from_date, to_date, previous_from_date, previous_to_date, value, previous_value, change_pct"
    query = f"select {columns} from marts_build.kpi_overview where metric = 'net_revenue' order by period_position"
    end = date(2011, 4, 1)
    assert built.ask(query) == [
        ("today", date(2011, 3, 31), end, date(2011, 3, 30), date(2011, 3, 31), *money("4", "0", None)),
        ("last_7_days", date(2011, 3, 25), end, date(2011, 3, 18), date(2011, 3, 25), *money("4", "0", None)),
        ("last_28_days", date(2011, 3, 4), end, date(2011, 2, 4), date(2011, 3, 4), *money("4", "0", None)),
        ("month_to_date", MARCH, end, date(2011, 2, 1), MARCH, *money("4", "0", None)),
        ("year_to_date", JANUARY, end, date(2010, 1, 1), date(2010, 4, 1), *money("10.25", None, None)),
    ]


def test_kpi_metrics(built: Project) -> None:
    query = "select metric, value from marts_build.kpi_overview where period = 'year_to_date' order by metric_position"
    assert built.ask(query) == [
        ("net_revenue", Decimal("10.25")),
        ("product_revenue", Decimal("10.75")),
        ("cancelled_amount", Decimal(-10)),
        ("avg_order_value", Decimal("6.75")),
        ("order_count", 3),
        ("customer_count", 2),
        ("new_customer_count", 1),
        ("unit_count", 11),
        ("net_revenue_eur", Decimal("20.5")),
        ("net_revenue_usd", None),
    ]


def test_snapshot_holds_current_segments(built: Project) -> None:
    query = "select customer_id, rfm_segment from snapshots.customer_segments_snapshot where dbt_valid_to is null"
    assert sorted(built.ask(query)) == [("1", "Champions"), ("2", "Others")]


def test_unit_tests_pass(built: Project) -> None:
    result = built.run("test", "--select", "test_type:unit")
    assert result.success, [result.exception, *failures(result)]
    assert len(result.result) >= 8


def test_changed_days_build_as_a_full_refresh_does(project: Project) -> None:
    """A day gone, a day corrected and a late day: replacing their range is the same as building everything anew."""
    load(project.database, LINES, DAYS)
    project.build()
    gone, corrected, late = date(2011, 1, 4), date(2011, 1, 5), date(2011, 2, 1)
    lines = [line for line in LINES if line.sale_date not in (gone, corrected)]
    lines += [
        Line(corrected, "1004", "2", FRANCE, "10002", 1, "1.00"),
        Line(late, "1007", None, FRANCE, "10001", 5, "1.1111"),
    ]
    load(project.database, lines, {gone, corrected, late})

    changed = {"RETAIL_DBT_FROM_DATE": str(gone), "RETAIL_DBT_TO_DATE": "2011-02-02"}
    project.build(**changed)
    by_range = project.marts()
    assert [row[0] for row in project.ask("select sale_date from marts_build.daily_sales order by 1")] == [
        date(2010, 12, 30),
        corrected,
        late,
        date(2011, 3, 31),
    ]
    project.build("--full-refresh")
    assert project.marts() == by_range


def test_day_outside_the_range_is_reported(project: Project) -> None:
    """A day that was loaded, but is in no range, fails the build (days by --vars here)."""
    load(project.database, LINES, DAYS)
    daily_sales = (
        "--select",
        "+daily_sales",
        "+stg_warehouse__day_quality",
        "--indirect-selection",
        "cautious",
        "--exclude-resource-type",
        "unit_test",
    )
    assert project.run("build", *daily_sales).success
    load(project.database, LINES[:-2], {date(2011, 3, 31)})
    result = project.run("build", *daily_sales, "--vars", "{from_date: 2011-01-04, to_date: 2011-01-06}")
    assert not result.success
    assert [name for name, _ in failures(result)] == ["assert_daily_sales_match_the_facts"]


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({"RETAIL_DBT_FROM_DATE": "2011-01-04"}, "expected both"),
        ({"RETAIL_DBT_FROM_DATE": "2011-01-04", "RETAIL_DBT_TO_DATE": "2011-01-04"}, "expected from_date before"),
    ],
)
def test_half_a_range_is_refused(built: Project, days: dict[str, str], message: str) -> None:
    result = built.run("compile", "--select", "daily_sales", **days)
    assert not result.success
    assert message in str(result.exception) or message in str(failures(result))


def test_empty_gold_builds(project: Project) -> None:
    with project.database.connect() as connection:
        prepare_warehouse(connection)
    project.build()
    incremental = ("--select", "config.materialized:incremental")
    project.build(*incremental, RETAIL_DBT_FROM_DATE="2011-01-04", RETAIL_DBT_TO_DATE="2011-01-05")
    assert project.marts() == {mart: [] for mart in MARTS}


def test_every_mart_is_a_table_with_a_primary_key(built: Project) -> None:
    tables = built.ask("select tablename::text from pg_tables where schemaname = 'marts_build' order by 1")
    assert [name for (name,) in tables] == list(MARTS)
    keyed = built.ask(
        "select relname::text from pg_constraint join pg_class on pg_class.oid = conrelid"
        " where contype = 'p' and relnamespace = 'marts_build'::regnamespace order by 1"
    )
    assert keyed == tables


def test_money_is_decimal(built: Project) -> None:
    floats = built.ask(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema in ('marts_build', 'intermediate') and"
        " (data_type in ('real', 'double precision') or (data_type = 'numeric' and numeric_scale is distinct from 4))"
    )
    assert floats == []


def test_every_column_is_described(built: Project, manifest: Any) -> None:
    nodes = [node for node in manifest.nodes.values() if node.resource_type in ("model", "snapshot")]
    assert [node.name for node in nodes if not node.description] == []
    described = {
        (node.schema, node.name, name) for node in nodes for name, column in node.columns.items() if column.description
    }
    present = built.ask(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema in ('staging', 'intermediate', 'marts_build', 'snapshots')"
    )
    assert set(present) == described


def test_sources_are_the_contracts(manifest: Any) -> None:
    """A description is changed in the contract and in models/staging/gold.md; a column in its staging model too.

    A table that no mart reads is no source.
    """
    found = {
        source.name: {name: (column.data_type, column.description) for name, column in source.columns.items()}
        for source in manifest.sources.values()
    }
    expected = {
        table.name: {
            name: (table.postgres_types[name], table.descriptions[name]) for name in table.schema if name != table.month
        }
        for table in GOLD_TABLES
        if table.name in found
    }
    assert found == {name: columns for name, columns in expected.items() if name in found}


def test_staging_has_every_column_of_its_source(manifest: Any) -> None:
    columns = {
        node.name.removeprefix("stg_warehouse__"): len(node.columns)
        for node in manifest.nodes.values()
        if node.name.startswith("stg_warehouse__")
    }
    assert columns == {source.name: len(source.columns) for source in manifest.sources.values()}


def test_lists_are_the_contracts(manifest: Any) -> None:
    daily_sales = manifest.nodes["model.retail.daily_sales"]
    amounts = [name.removesuffix("_revenue") for name in daily_sales.columns if name.endswith("_revenue")]
    assert sorted(amounts) == sorted({*LINE_TYPES, "net", "gross"} - {"test"})
    accepted = [
        node.test_metadata.kwargs["values"]
        for node in manifest.nodes.values()
        if node.name.startswith("accepted_values_customer_segments_rfm_segment")
    ]
    assert accepted == [list(SEGMENTS)]


def test_no_model_asks_the_clock(built: Project) -> None:
    """Marts are a function of gold; the snapshot's own columns say when it was taken, and are left out here."""
    compiled = built.run("compile", "--select", "resource_type:model")
    clock = re.compile(r"\b(now\(|current_(date|time)|localtime|(clock|statement)_timestamp|timeofday|random\()", re.I)
    models = [node.node for node in compiled.result if node.node.resource_type == "model"]
    assert [model.name for model in models if clock.search(re.sub("--.*", "", model.compiled_code))] == []
    assert len(models) == 39

"""The asset graph without data: what is in it, that it says what it is, and that its edges run one way."""

import subprocess
import sys

import dagster as dg
import pytest

from retail_platform.cli import STEPS
from retail_platform.definitions import defs

LAYERS = ("landing", "bronze", "silver", "gold", "warehouse", "staging", "intermediate", "snapshots", "marts")
GROUPS = {"landing", "bronze", "silver", "gold", "warehouse", "marts"}

KEYS = [
    "bronze/days",
    "bronze/sales",
    "gold/customer_value",
    "gold/day_quality",
    "gold/demand_forecast",
    "gold/dim_country",
    "gold/dim_customer",
    "gold/dim_date",
    "gold/dim_invoice",
    "gold/dim_product",
    "gold/fact_sale",
    "gold/forecast_backtest",
    "gold/product_category",
    "gold/product_pair",
    "gold/revenue_anomalies",
    "gold/revenue_forecast",
    "intermediate/int_customers__narrowed_to_current",
    "intermediate/int_invoices__pivoted_by_line_type",
    "intermediate/int_products__summed_by_month",
    "landing/deliveries",
    "landing/files",
    "marts/cohort_retention",
    "marts/country_sales",
    "marts/customer_lifetime",
    "marts/customer_segments",
    "marts/daily_sales",
    "marts/forecast_accuracy",
    "marts/kpi_overview",
    "marts/monthly_sales",
    "marts/product_performance",
    "marts/publication",
    "marts/revenue_outlook",
    "marts/sales_by_period",
    "silver/customer_months",
    "silver/days",
    "silver/product_months",
    "silver/rejects",
    "silver/sales",
    "snapshots/customer_segments_snapshot",
    "staging/stg_warehouse__customer_value",
    "staging/stg_warehouse__day_quality",
    "staging/stg_warehouse__dim_country",
    "staging/stg_warehouse__dim_customer",
    "staging/stg_warehouse__dim_date",
    "staging/stg_warehouse__dim_invoice",
    "staging/stg_warehouse__dim_product",
    "staging/stg_warehouse__fact_sale",
    "staging/stg_warehouse__forecast_backtest",
    "staging/stg_warehouse__product_category",
    "staging/stg_warehouse__product_pair",
    "staging/stg_warehouse__revenue_forecast",
    "warehouse/customer_value",
    "warehouse/day_quality",
    "warehouse/demand_forecast",
    "warehouse/dim_country",
    "warehouse/dim_customer",
    "warehouse/dim_date",
    "warehouse/dim_invoice",
    "warehouse/dim_product",
    "warehouse/fact_sale",
    "warehouse/forecast_backtest",
    "warehouse/product_category",
    "warehouse/product_pair",
    "warehouse/revenue_anomalies",
    "warehouse/revenue_forecast",
]

SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
LAKE = [key for key in KEYS if key.split("/")[0] in ("bronze", "silver", "gold", "warehouse")]


def test_the_keys_are_these() -> None:
    assert sorted(SPECS) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_every_asset_says_what_it_is(key: str) -> None:
    spec = SPECS[key]
    assert spec.owners
    assert spec.kinds
    assert spec.description
    assert spec.group_name in GROUPS


@pytest.mark.parametrize("key", [*LAKE, "landing/files", "landing/deliveries", "marts/publication"])
def test_the_catalogue_page_names_the_grain(key: str) -> None:
    assert "Grain: " in str(SPECS[key].description)


@pytest.mark.parametrize("key", LAKE)
def test_the_catalogue_page_shows_the_columns(key: str) -> None:
    schema = SPECS[key].metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)


def test_edges_run_one_way() -> None:
    backwards = [
        (dep.asset_key.to_user_string(), key)
        for key, spec in SPECS.items()
        for dep in spec.deps
        if LAYERS.index(dep.asset_key.path[0]) > LAYERS.index(spec.key.path[0])
    ]
    assert backwards == []


def test_day_keyed_tables_are_run_as_one() -> None:
    graph = defs.resolve_asset_graph()
    daily = {key.to_user_string() for key in graph.executable_asset_keys if graph.get(key).is_partitioned}
    assert daily == {
        "bronze/sales",
        "bronze/days",
        "silver/sales",
        "silver/days",
        "silver/rejects",
        "gold/day_quality",
        "gold/dim_invoice",
        "gold/fact_sale",
    }
    assert all(graph.get(dg.AssetKey(key.split("/"))).backfill_policy.max_partitions_per_run is None for key in daily)


def test_checks_that_stop_bad_data() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {
        f"{key.asset_key.to_user_string()}:{key.name}"
        for key in graph.asset_check_keys
        if graph.get_check_spec(key).blocking
    }
    expected = {
        "bronze/sales:contract_holds",
        "bronze/sales:keys_are_unique",
        "silver/sales:contract_holds",
        "silver/sales:keys_are_unique",
        "silver/sales:rows_match_bronze",
        "silver/rejects:contract_holds",
        "gold/dim_product:intervals_are_sound",
        "gold/dim_customer:intervals_are_sound",
        "gold/day_quality:counts_match_silver",
        "gold/fact_sale:no_orphan_keys",
        "gold/fact_sale:totals_match",
        "gold/product_pair:pairs_are_consistent",
        "gold/revenue_forecast:forecast_is_complete",
        "gold/demand_forecast:forecast_is_complete",
        "gold/forecast_backtest:published_models_beat_naive",
        "gold/revenue_anomalies:every_judged_day_is_in_the_facts",
        "marts/publication:totals_match",
    }
    assert expected <= blocking


def test_writers_share_the_pool() -> None:
    pooled = {
        key.to_user_string()
        for asset in defs.resolve_asset_graph().assets_defs
        for key in asset.keys
        if asset.is_executable and asset.op.pool == "lake"
    }
    assert set(KEYS) - pooled == {"landing/files", "landing/deliveries"}


def test_loading_imports_nothing_heavy() -> None:
    heavy = ("pyspark", "matplotlib", "torch", "pandas", "strawberry", "dbt", "dagster_dbt", "networkx", "duckdb")
    heavy += ("sklearn", "scipy", "statsforecast", "statsmodels")
    code = f"import sys, retail_platform.definitions; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_command_s_progress_knows_how_many_steps_there_are() -> None:
    assert len(defs.resolve_job_def("run_days").graph.nodes) == STEPS

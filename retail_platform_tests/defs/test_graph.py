"""The asset graph without data: what is in it, that it says what it is, and that its edges run one way."""

import subprocess
import sys

import dagster as dg
import pytest

from retail_platform.cli import STEPS
from retail_platform.contracts.rules import rules_that
from retail_platform.definitions import defs
from retail_platform.defs.layers import AFTER_MARTS

LAYERS = (
    "landing",
    "bronze",
    "silver",
    "gold",
    "warehouse",
    "staging",
    "intermediate",
    "seeds",
    "snapshots",
    "marts",
    "maintenance",
)
GROUPS = {"landing", "bronze", "silver", "gold", "warehouse", "marts", "maintenance"}

KEYS = [
    "bronze/days",
    "bronze/sales",
    "gold/bank_holidays",
    "gold/column_drift",
    "gold/customer_feature",
    "gold/customer_segment_month",
    "gold/customer_value",
    "gold/daily_weather",
    "gold/day_quality",
    "gold/demand_forecast",
    "gold/dim_country",
    "gold/dim_customer",
    "gold/dim_date",
    "gold/dim_invoice",
    "gold/dim_product",
    "gold/exchange_rates",
    "gold/fact_sale",
    "gold/forecast_backtest",
    "gold/line_outliers",
    "gold/price_elasticity",
    "gold/product_bands",
    "gold/product_category",
    "gold/product_demand",
    "gold/product_feature",
    "gold/product_pair",
    "gold/quality_profiles",
    "gold/quality_scores",
    "gold/reject_correction",
    "gold/revenue_anomalies",
    "gold/revenue_forecast",
    "gold/row_drift",
    "gold/seasonality_index",
    "intermediate/int_countries__summed_by_month",
    "intermediate/int_customers__narrowed_to_current",
    "intermediate/int_customers__ordered_by_day",
    "intermediate/int_customers__summed_by_month",
    "intermediate/int_invoices__pivoted_by_line_type",
    "intermediate/int_products__first_bought_by_customer",
    "intermediate/int_products__gained_customers",
    "intermediate/int_products__summed_by_month",
    "landing/deliveries",
    "landing/files",
    "maintenance/checkpoints",
    "maintenance/compaction",
    "maintenance/layout_advice",
    "maintenance/step_durations",
    "maintenance/vacuum",
    "maintenance/warehouse_statistics",
    "marts/category_sales",
    "marts/cohort_retention",
    "marts/country_sales",
    "marts/cross_sell",
    "marts/customer_lifetime",
    "marts/customer_segments",
    "marts/daily_sales",
    "marts/forecast_accuracy",
    "marts/kpi_overview",
    "marts/monthly_sales",
    "marts/product_classes",
    "marts/product_performance",
    "marts/publication",
    "marts/quality_trend",
    "marts/revenue_outlook",
    "marts/sales_by_period",
    "marts/segment_transitions",
    "seeds/product_taxonomy",
    "silver/customer_months",
    "silver/days",
    "silver/product_months",
    "silver/rejects",
    "silver/sales",
    "snapshots/customer_segments_snapshot",
    "staging/stg_warehouse__customer_segment_month",
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
    "staging/stg_warehouse__product_demand",
    "staging/stg_warehouse__product_pair",
    "staging/stg_warehouse__quality_scores",
    "staging/stg_warehouse__revenue_forecast",
    "warehouse/bank_holidays",
    "warehouse/column_drift",
    "warehouse/customer_feature",
    "warehouse/customer_segment_month",
    "warehouse/customer_value",
    "warehouse/daily_weather",
    "warehouse/day_quality",
    "warehouse/demand_forecast",
    "warehouse/dim_country",
    "warehouse/dim_customer",
    "warehouse/dim_date",
    "warehouse/dim_invoice",
    "warehouse/dim_product",
    "warehouse/exchange_rates",
    "warehouse/fact_sale",
    "warehouse/forecast_backtest",
    "warehouse/line_outliers",
    "warehouse/price_elasticity",
    "warehouse/product_bands",
    "warehouse/product_category",
    "warehouse/product_demand",
    "warehouse/product_feature",
    "warehouse/product_pair",
    "warehouse/quality_profiles",
    "warehouse/quality_scores",
    "warehouse/reject_correction",
    "warehouse/revenue_anomalies",
    "warehouse/revenue_forecast",
    "warehouse/row_drift",
    "warehouse/seasonality_index",
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


@pytest.mark.parametrize(
    "key", [*LAKE, "landing/files", "landing/deliveries", "marts/publication", "maintenance/step_durations"]
)
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


def test_what_no_mart_waits_for_comes_after_publication() -> None:
    """Each step of a run of days has the tag or leads to publication, and none of those that lead there has it."""
    graph = defs.resolve_asset_graph()
    steps = {key: graph.get(key).assets_def for key in graph.executable_asset_keys}
    leads, todo = set(), [dg.AssetKey(["marts", "publication"])]
    while todo:
        step = steps.get(todo.pop())
        if step is not None and step.op.name not in leads:
            leads.add(step.op.name)
            todo += [parent for key in step.keys for parent in graph.get(key).parent_keys]
    later = {step.op.name for step in steps.values() if step.op.tags == AFTER_MARTS}
    of_days = {step.op.name for key, step in steps.items() if key.path[0] != "maintenance"}
    assert later == of_days - leads
    assert {"features", "warehouse_analytics"} <= later


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
        *(f"silver/sales:{rule.name}" for rule in rules_that("fail")),
        "silver/rejects:contract_holds",
        "gold/dim_product:intervals_are_sound",
        "gold/dim_customer:intervals_are_sound",
        "gold/customer_segment_month:every_month_has_its_row",
        "gold/customer_segment_month:history_agrees_with_versions",
        "gold/day_quality:counts_match_silver",
        "gold/fact_sale:no_orphan_keys",
        "gold/fact_sale:totals_match",
        "gold/product_demand:classes_cover_the_revenue",
        "gold/fact_sale:amounts_follow_the_rates",
        "gold/product_pair:pairs_are_consistent",
        "gold/customer_feature:features_are_finite",
        "gold/customer_feature:point_in_time_holds",
        "gold/product_feature:point_in_time_holds",
        "gold/seasonality_index:indices_average_100",
        "gold/seasonality_index:shop_has_all_revenue",
        "gold/product_bands:bands_hold_what_is_expected",
        "gold/line_outliers:flags_are_outside_their_band",
        "gold/quality_scores:every_day_is_scored",
        "gold/quality_scores:totals_reach_their_threshold",
        "gold/quality_profiles:counts_add_up",
        "gold/column_drift:every_day_is_judged",
        "gold/revenue_forecast:forecast_is_complete",
        "gold/demand_forecast:forecast_is_complete",
        "gold/forecast_backtest:published_models_beat_naive",
        "gold/revenue_anomalies:every_judged_day_is_in_the_facts",
        "marts/publication:totals_match",
    }
    assert expected <= blocking
    warnings = {dg.AssetCheckKey(dg.AssetKey(["silver", "sales"]), rule.name) for rule in rules_that("warn")}
    assert warnings <= set(graph.asset_check_keys)
    assert blocking & {f"silver/sales:{key.name}" for key in warnings} == set()


def test_writers_share_the_pool() -> None:
    pooled = {
        key.to_user_string()
        for asset in defs.resolve_asset_graph().assets_defs
        for key in asset.keys
        if asset.is_executable and asset.op.pool == "lake"
    }
    assert set(KEYS) - pooled == {"landing/files", "landing/deliveries", "maintenance/step_durations"}


def test_loading_imports_nothing_heavy() -> None:
    heavy = ("pyspark", "matplotlib", "torch", "pandas", "strawberry", "dbt", "dagster_dbt", "networkx", "duckdb")
    heavy += ("sklearn", "scipy", "httpx", "hishel", "stamina", "holidays", "statsforecast", "statsmodels")
    code = f"import sys, retail_platform.definitions; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_command_s_progress_knows_how_many_steps_there_are() -> None:
    assert len(defs.resolve_job_def("run_days").graph.nodes) == STEPS


def test_maintenance_is_no_part_of_a_run_of_days() -> None:
    steps = {
        name: {key.to_user_string() for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in ("run_days", "maintain_lake")
    }
    assert steps["maintain_lake"] == {key for key in KEYS if key.startswith("maintenance/")}
    assert steps["run_days"] == {key for key in KEYS if key != "landing/files"} - steps["maintain_lake"]

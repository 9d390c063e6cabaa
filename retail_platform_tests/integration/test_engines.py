"""Gold is the same on every engine, and in however many windows of days it is made."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from retail_platform.contracts import (
    BRONZE_DAYS,
    BRONZE_SALES,
    CUSTOMER_MONTHS,
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_CUSTOMER,
    DIM_DATE,
    DIM_INVOICE,
    DIM_PRODUCT,
    EXCHANGE_RATES,
    FACT_SALE,
    PRODUCT_MONTHS,
    SILVER_DAYS,
    SILVER_REJECTS,
    SILVER_SALES,
)
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.settings import Settings
from retail_platform.sources.sample import write_sample
from retail_platform_tests.integration.conftest import AUDIT_COLUMNS, Gold, differences, run_lake, write_csv

pytestmark = pytest.mark.slow

DAYS = Days(date(2010, 9, 1), date(2010, 10, 11))
TABLES = (
    BRONZE_SALES,
    BRONZE_DAYS,
    SILVER_SALES,
    SILVER_REJECTS,
    SILVER_DAYS,
    PRODUCT_MONTHS,
    CUSTOMER_MONTHS,
    DIM_DATE,
    DIM_COUNTRY,
    EXCHANGE_RATES,
    DIM_PRODUCT,
    DIM_CUSTOMER,
    DIM_INVOICE,
    DAY_QUALITY,
    FACT_SALE,
)
"""What is made on an engine, and what that needs."""
AUDIT = (*AUDIT_COLUMNS, "ingested_at")
STEPS = {"silver/sales", "gold/fact_sale"}


@pytest.fixture(scope="module")
def run(make_platform: Callable[[str], Settings]) -> Callable[..., tuple[Gold, dict[str, dict[str, object]]]]:
    """Run a small sample with rows without a day in it; gold, and the metadata of each table."""

    def run_with(**variables: str) -> tuple[Gold, dict[str, dict[str, object]]]:
        settings = make_platform("engines")
        write_sample(settings.landing, 3000, start=DAYS.start, days=40)
        undated = [("990001", "10002", "RED HEART", 1, text, 1, None, "EIRE") for text in ("never", "2031-01-01")]
        write_csv(Path(settings.landing, "undated__20101112T000000Z.csv"), undated)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            register_arrivals(settings)
            result = run_lake(settings, DAYS, tables=TABLES)
        assert result.success, [str(failure.step_failure_data.error) for failure in result.get_step_failure_events()]
        return content_of(settings), told(result)

    return run_with


def content_of(settings: Settings) -> Gold:
    """What the tables hold, audit columns aside, in the order of their keys."""
    lake = Lake(settings.lake)
    return {
        str(table): lake.scan(table).drop(AUDIT, strict=False).collect().sort(table.key, nulls_last=True)
        for table in TABLES
    }


def told(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, object]]:
    """What the tables' materialisations say, by table."""
    materialisations = (
        event.step_materialization_data.materialization for event in result.all_events if event.is_step_materialization
    )
    return {
        each.asset_key.to_user_string(): {name: value.value for name, value in each.metadata.items()}
        for each in materialisations
    }


@pytest.fixture(scope="module")
def in_one_window(run: Callable[..., tuple[Gold, dict[str, dict[str, object]]]]) -> Gold:
    gold, said = run()
    assert {said[step]["engine"] for step in STEPS} == {"polars"}
    assert all("windows" not in said[step] for step in STEPS)
    assert gold["gold.fact_sale"].height > 2000
    return gold


def test_windows_of_days_make_the_same_gold(run: Callable[..., tuple[Gold, dict]], in_one_window: Gold) -> None:
    """With so little memory that only a few days fit: a fourth of 6 MiB counts as free."""
    gold, said = run(RETAIL_MEMORY="6MiB")
    assert {step: said[step]["engine"] for step in STEPS} == dict.fromkeys(STEPS, "polars")
    assert all(int(str(said[step]["windows"])) > 2 for step in {*STEPS, "bronze/sales"})
    assert differences(in_one_window, gold) == []


# pandas will count columns without values when it picks a type; here both frames have the same types.
@pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation:FutureWarning")
@pytest.mark.parametrize("engine", ["duckdb", "pandas", "spark"])
def test_engines_make_the_same_gold(run: Callable[..., tuple[Gold, dict]], in_one_window: Gold, engine: str) -> None:
    gold, said = run(RETAIL_ENGINE=engine)
    assert {step: said[step]["engine"] for step in STEPS} == dict.fromkeys(STEPS, engine)
    assert differences(in_one_window, gold) == []

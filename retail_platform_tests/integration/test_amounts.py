"""Amounts in other currencies through the graph: they follow the rates, and a lake of before gets them."""

import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from retail_platform.contracts import EXCHANGE_RATES, FACT_SALE
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import differences, gold_of, run_lake, whole, write_csv

pytestmark = pytest.mark.slow

FRIDAY, MONDAY = date(2010, 9, 10), date(2010, 9, 13)
COLUMNS = ["total_amount", "total_amount_eur", "total_amount_usd"]


@pytest.fixture
def platform(tmp_path: Path, database: Database) -> Settings:
    """A platform with a sale of 100 pounds on a Friday and one on the Monday after it, run."""
    settings = Settings(home=tmp_path, mappings=None, database_url=database.url())
    rows = [
        (f"54000{day.day}", "10002", "RED HEART", 1, f"{day} 10:00:00", 100, None, "EIRE") for day in (FRIDAY, MONDAY)
    ]
    write_csv(settings.landing / "s1__20110305T000000Z.csv", rows)
    register_arrivals(settings)
    assert run_lake(settings, whole([FRIDAY, MONDAY])).success
    return settings


def amounts(settings: Settings) -> dict[date, list[Decimal]]:
    facts = Lake(settings.lake).scan(FACT_SALE).select("sale_date", *COLUMNS).collect()
    return {day: list(values) for day, *values in facts.iter_rows()}


def money(*values: str) -> list[Decimal]:
    return [Decimal(value) for value in values]


def test_amounts_follow_rates_that_moved(platform: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixings of 10 September 2010: 0.8234 pounds and 1.2725 dollars for a euro."""
    gold = gold_of(platform)
    assert amounts(platform)[FRIDAY] == money("100", "121.4477", "154.5421")
    assert gold["bank_holidays"].filter(date=date(2010, 3, 17))["name"].to_list() == ["Saint Patrick's Day"]
    assert gold["daily_weather"].is_empty()

    monkeypatch.setenv("RETAIL_SHOP_CURRENCY", "USD")
    assert run_lake(platform, Days(MONDAY, MONDAY + ONE_DAY)).success
    assert amounts(platform)[FRIDAY] == money("100", "78.5855", "100")


def test_a_lake_of_before_gets_the_amounts_of_every_day(platform: Settings) -> None:
    gold, lake = gold_of(platform), Lake(platform.lake)
    older = lake.scan(FACT_SALE).drop("total_amount_eur", "total_amount_usd").collect()
    shutil.rmtree(lake.path(FACT_SALE))
    shutil.rmtree(lake.path(EXCHANGE_RATES))
    write_deltalake(lake.path(FACT_SALE), older, partition_by=["sale_month"])
    assert len(DeltaTable(lake.path(FACT_SALE)).schema().fields) == len(older.columns)
    assert amounts(platform)[FRIDAY][1:] == [None, None]

    assert run_lake(platform, Days(MONDAY, MONDAY + ONE_DAY)).success
    assert differences(gold, gold_of(platform)) == []

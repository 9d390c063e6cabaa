"""Profiles: of rows that a person can count, and DuckDB's quantiles on random ones."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_platform.contracts import BRONZE_SALES, QUALITY_PROFILES
from retail_platform.transforms.profiles import (
    PROFILES,
    counts_add_up,
    profiles,
    profiles_of_deliveries,
    stale_deliveries,
)
from retail_platform.transforms.quality import contract_holds
from retail_platform_tests.warehouse.gold_frames import shaped

TEXTS = ["85123A", "22423", "22423", "POST", None]


def one(values: pl.Series) -> dict[str, object]:
    """The profile of one column of one subject."""
    frame = pl.LazyFrame({"subject": ["t"] * values.len(), "column": values})
    return profiles(frame, "subject", ["column"]).row(0, named=True)


def test_text_has_counts_extremes_top_values_and_patterns() -> None:
    found = one(pl.Series(TEXTS))
    assert found | {"top_values": None, "top_patterns": None} == dict.fromkeys(PROFILES) | {
        "subject": "t",
        "column_name": "column",
        "data_type": "String",
        "row_count": 5,
        "null_count": 1,
        "null_share_pct": 20.0,
        "distinct_count": 3,
        "min_value": "22423",
        "max_value": "POST",
    }
    assert json.loads(str(found["top_values"])) == [
        {"value": "22423", "count": 2},
        {"value": "85123A", "count": 1},
        {"value": "POST", "count": 1},
    ]
    assert json.loads(str(found["top_patterns"])) == [
        {"pattern": "99999", "share_pct": 50.0},
        {"pattern": "99999A", "share_pct": 25.0},
        {"pattern": "AAAA", "share_pct": 25.0},
    ]


def test_patterns_keep_what_is_neither_letter_nor_digit() -> None:
    assert json.loads(str(one(pl.Series(["£5 Gift-Bön"]))["top_patterns"])) == [
        {"pattern": "£9 AAAA-AAA", "share_pct": 100.0}
    ]


def test_quantiles_are_values_that_occur() -> None:
    found = one(pl.Series([Decimal("1.25"), Decimal("2.55"), Decimal("4.95"), Decimal("9.95"), None]))
    assert [found[name] for name in ("min_value", "p01", "p25", "p50", "p75", "p99", "max_value")] == [
        "1.25", "1.25", "1.25", "2.55", "4.95", "9.95", "9.95",
    ]  # fmt: skip
    assert found["top_patterns"] is None


def test_dates_have_quantiles_and_flags_have_none() -> None:
    assert one(pl.Series([date(2011, 1, 1), date(2011, 1, 2), date(2011, 1, 3)]))["p50"] == "2011-01-02"
    flags = one(pl.Series([True, False, False]))
    assert (flags["min_value"], flags["max_value"], flags["p50"]) == ("false", "true", None)


def test_a_column_without_a_value_has_no_figures() -> None:
    found = one(pl.Series([None, None], dtype=pl.Int32))
    assert (found["row_count"], found["null_share_pct"], found["distinct_count"]) == (2, 100.0, 0)
    assert {found[name] for name in ("min_value", "max_value", "p50", "top_values", "top_patterns")} == {None}


def test_no_more_than_five_top_values_ties_by_value() -> None:
    assert [top["value"] for top in json.loads(str(one(pl.Series(list("gfedcba")))["top_values"]))] == list("abcde")


def test_each_subject_has_its_own_profile_in_the_order_of_columns() -> None:
    rows = pl.LazyFrame({"delivery_id": ["b", "a", "a"], "x": [1, 2, 3], "a": ["p", None, "q"]})
    found = profiles(rows, "delivery_id", ["x", "a"])
    assert found.schema == PROFILES
    assert found.select("subject", "column_name", "row_count", "max_value").rows() == [
        ("a", "x", 2, "3"),
        ("a", "a", 2, "q"),
        ("b", "x", 1, "1"),
        ("b", "a", 1, "p"),
    ]


def test_no_rows_no_profile() -> None:
    assert profiles(pl.LazyFrame(schema={"s": pl.String, "x": pl.Int64}), "s", ["x"]).is_empty()


def test_figures_equal_those_of_duckdb() -> None:
    random = np.random.default_rng(1)
    numbers = random.lognormal(2, 2, 3_000).round(2)
    rows = pl.DataFrame({"day": random.integers(0, 4, 3_000), "x": numbers}).with_columns(
        x=pl.when(pl.Series(random.random(3_000) > 0.1)).then("x")
    )
    expected = duckdb.sql(
        """
        select day::varchar as subject, count(*) as row_count, count(*) - count(x) as null_count,
            count(distinct x) as distinct_count, min(x) as min_value, max(x) as max_value,
            quantile_disc(x, 0.01) as p01, quantile_disc(x, 0.25) as p25, quantile_disc(x, 0.5) as p50,
            quantile_disc(x, 0.75) as p75, quantile_disc(x, 0.99) as p99
        from rows group by 1 order by 1
        """
    ).pl()
    found = profiles(rows.lazy(), "day", ["x"]).select(expected.columns)
    values = expected.columns[4:]
    assert found.with_columns(pl.col(values).cast(pl.Float64)).rows() == expected.rows()


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=40))
def test_counts_add_up_whatever_the_values(values: list[int | None]) -> None:
    found = one(pl.Series(values, dtype=pl.Int64))
    filled = [value for value in values if value is not None]
    assert (found["row_count"], found["null_count"]) == (len(values), len(values) - len(filled))
    assert found["distinct_count"] == len(set(filled))
    assert found["null_share_pct"] == pytest.approx(100 * values.count(None) / len(values))
    assert found["p50"] == (str(sorted(filled)[-(-len(filled) // 2) - 1]) if filled else None)


FIRST, LAST, STAMP = date(2011, 1, 4), date(2011, 1, 5), datetime(2011, 1, 6, tzinfo=UTC)
HOLDING = pl.DataFrame(
    {
        "delivery_id": ["a", "a", "a", "b", "none"],
        "sale_date": [FIRST, LAST, None, FIRST, None],
        "rows": [1, 1, 1, 2, 1],
    }
)
DELIVERIES = pl.DataFrame({"delivery_id": ["a", "a", "b", "none"], "delivered_at": [STAMP] * 4})


def described() -> pl.DataFrame:
    rows = {
        "delivery_id": ["a", "a", "a", "b", "b"],
        "customer_id": ["1", "1", None, "2", "3"],
        "quantity": list("12x44"),
    }
    delivered = shaped(BRONZE_SALES, pl.DataFrame(rows)).lazy()
    return profiles_of_deliveries(
        {BRONZE_SALES: delivered}, stale_deliveries(HOLDING, DELIVERIES, QUALITY_PROFILES.empty(), None)
    )


def test_a_delivery_is_placed_on_its_newest_day_and_tells_no_customer() -> None:
    found = described()
    assert contract_holds(QUALITY_PROFILES, found).passed
    assert found.select("delivery_id", "sale_date", "row_count").unique().sort("delivery_id").rows() == [
        ("a", LAST, 3),
        ("b", FIRST, 2),
    ]
    customers = found.filter(column_name="customer_id").select(
        "null_count", "distinct_count", "min_value", "top_values"
    )
    assert customers.rows() == [(1, 1, None, None), (0, 2, None, None)]
    assert json.loads(found.filter(column_name="quantity", delivery_id="b")["top_values"].item()) == [
        {"value": "4", "count": 2}
    ]


def test_only_deliveries_of_changed_days_or_with_other_rows_are_described_again() -> None:
    known = described()

    def stale(holding: pl.DataFrame = HOLDING, deliveries: pl.DataFrame = DELIVERIES, *changed: date) -> list[str]:
        return stale_deliveries(holding, deliveries, known, changed)["delivery_id"].sort().to_list()

    assert stale() == []
    assert stale(HOLDING, DELIVERIES, LAST) == ["a"]
    assert stale(HOLDING, DELIVERIES, FIRST) == ["a", "b"]
    assert stale(HOLDING.with_columns(rows=pl.Series([1, 1, 2, 2, 1]))) == ["a"]
    later = (
        pl.when(pl.col("delivery_id") == "b").then(pl.lit(datetime(2011, 1, 7, tzinfo=UTC))).otherwise("delivered_at")
    )
    assert stale(HOLDING, DELIVERIES.with_columns(delivered_at=later)) == ["b"]


def test_a_column_that_counts_otherwise_is_found() -> None:
    found = described()
    assert counts_add_up(found).passed
    is_one = (pl.col("column_name") == "quantity") & (pl.col("delivery_id") == "a")
    for name in ("row_count", "null_count", "distinct_count"):
        assert not counts_add_up(found.with_columns(pl.when(is_one).then(99).otherwise(name).alias(name))).passed

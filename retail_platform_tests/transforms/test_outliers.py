"""Outliers: products whose bands can be worked by hand, and the same bands in plain Python on random ones."""

import math
import statistics

import numpy as np
import polars as pl
import pytest

from retail_platform.transforms.outliers import (
    BANDS,
    OutlierRule,
    bands_hold_what_is_expected,
    flagged_by_day,
    flagged_lines,
    flags_are_outside_their_band,
    product_bands,
)

RULE = OutlierRule(minimum_lines=5, price_spread=0.1, quantity_spread=0.1)


def lines(code: str, prices: list[float], quantities: list[int] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "stock_code": code,
            "unit_price": pl.Series(prices).cast(pl.Decimal(18, 4)),
            "quantity": quantities or [1] * len(prices),
            "source_row": range(1, len(prices) + 1),
        }
    )


def test_bands_as_a_person_works_them() -> None:
    # Logarithms to base 2: 0, 1, 2, 3, 4. Median 2, median deviation 1, quartiles 1 and 3.
    found = product_bands(lines("A", [1, 2, 4, 8, 16]).lazy(), RULE).filter(measure="unit_price")
    assert found.schema == BANDS
    row = found.row(0, named=True)
    assert (row["line_count"], row["is_judged"], row["expected"]) == (5, True, pytest.approx(4))
    assert row["spread"] == pytest.approx(1.4826 * math.log(2))
    assert (row["z_low"], row["z_high"]) == pytest.approx((4 / 2 ** (3.5 * 1.4826), 4 * 2 ** (3.5 * 1.4826)))
    assert (row["iqr_low"], row["iqr_high"]) == pytest.approx((2 / 2**6, 8 * 2**6))


def test_the_rule_that_a_line_breaks_is_named_with_its_band() -> None:
    bands = product_bands(lines("A", [1, 2, 4, 8, 16]).lazy(), RULE)
    # z from 0.110 to 146.0, fences from 0.03125 to 512.
    found = flagged_lines(lines("A", [145.0, 147.0, 513.0, 0.1, 0.03]).lazy(), bands, RULE)
    assert found.select("source_row", "value", "rule").sort("source_row").rows() == [
        (2, 147.0, "robust_z"),
        (3, 513.0, "both"),
        (4, 0.1, "robust_z"),
        (5, 0.03, "both"),
    ]
    by_row = {row["source_row"]: row for row in found.to_dicts()}
    assert by_row[2]["high"] == pytest.approx(4 * 2 ** (3.5 * 1.4826))
    assert (by_row[3]["low"], by_row[3]["high"]) == pytest.approx((1 / 32, 512))
    assert by_row[3]["robust_z"] == pytest.approx(math.log(513 / 4) / (1.4826 * math.log(2)))
    assert by_row[5]["robust_z"] < 0


def test_fences_can_be_narrower_than_the_robust_z() -> None:
    # A fence of 0 stands on the quartiles, 2 and 8.
    rule = OutlierRule(minimum_lines=5, price_spread=0.01, fence=0.0)
    bands = product_bands(lines("A", [1, 2, 4, 8, 16]).lazy(), rule)
    assert flagged_lines(lines("A", [9]).lazy(), bands, rule).select("rule", "high").rows() == [
        ("iqr", pytest.approx(8))
    ]


def test_a_product_with_one_price_has_the_least_spread() -> None:
    bands = product_bands(lines("A", [2.0] * 30).lazy())
    row = bands.filter(measure="unit_price").row(0, named=True)
    assert (row["z_low"], row["z_high"]) == pytest.approx((2 / math.exp(1.75), 2 * math.exp(1.75)))
    assert row["iqr_high"] == pytest.approx(2 * math.exp(3 * 1.349 * 0.5))


def test_products_with_too_few_lines_are_not_judged_and_say_so() -> None:
    bands = product_bands(lines("A", [1, 1, 1, 1]).lazy(), RULE)
    assert bands.select("line_count", "is_judged", "expected", "iqr_high").rows() == [(4, False, None, None)] * 2
    assert flagged_lines(lines("A", [1_000_000]).lazy(), bands, RULE).is_empty()


def test_returns_are_judged_by_their_size() -> None:
    bands = product_bands(lines("A", [1.0] * 5, [6, 6, 6, 6, 6]).lazy(), RULE)
    found = flagged_lines(lines("A", [1.0] * 3, [-6, 74_215, -74_215]).lazy(), bands, RULE)
    assert found.select("quantity", "measure", "value").rows() == [
        (74_215, "quantity", 74_215.0),
        (-74_215, "quantity", 74_215.0),
    ]


def test_each_product_is_judged_by_itself_and_unknown_ones_not_at_all() -> None:
    bands = product_bands(pl.concat([lines("A", [1.0] * 5), lines("B", [100.0] * 5)]).lazy(), RULE)
    asked = pl.concat([lines("A", [100.0]), lines("B", [100.0]), lines("C", [100.0])])
    assert flagged_lines(asked.lazy(), bands, RULE)["stock_code"].to_list() == ["A"]


def test_bands_equal_those_of_plain_python() -> None:
    random = np.random.default_rng(1)
    rows = lines("", list(random.lognormal(1, 1, 900).round(2) + 0.01), list(random.integers(-90, -1, 900)))
    rows = rows.with_columns(stock_code=pl.Series(random.integers(0, 9, 900)).cast(pl.String))
    for row in product_bands(rows.lazy(), RULE).to_dicts():
        of_product = rows.filter(stock_code=row["stock_code"])[row["measure"]]
        values = [math.log(abs(float(value))) for value in of_product]
        median = statistics.median(values)
        spread = 1.4826 * statistics.median(abs(value - median) for value in values)
        lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
        expected = (median, median - 3.5 * spread, upper + 3 * (upper - lower))
        assert [math.log(row[name]) for name in ("expected", "z_low", "iqr_high")] == pytest.approx(expected)


def test_a_band_without_its_median_is_found() -> None:
    bands = product_bands(pl.concat([lines("A", [1.0, 2.0] * 15), lines("B", [1.0])]).lazy())
    assert bands_hold_what_is_expected(bands).passed
    for wrong in ({"z_high": 1.0}, {"iqr_low": 50.0}, {"line_count": 29}, {"expected": None}):
        assert not bands_hold_what_is_expected(bands.with_columns(**{n: pl.lit(v) for n, v in wrong.items()})).passed


def test_a_flag_inside_its_band_or_without_one_is_found() -> None:
    bands = product_bands(lines("A", [1, 2, 4, 8, 16]).lazy(), RULE)
    flagged = flagged_lines(lines("A", [147.0]).lazy(), bands, RULE)
    assert flags_are_outside_their_band(flagged, bands).passed
    assert not flags_are_outside_their_band(flagged.with_columns(value=pl.lit(100.0)), bands).passed
    assert not flags_are_outside_their_band(flagged, bands.filter(measure="quantity")).passed


def test_flagged_lines_are_counted_by_day_and_measure() -> None:
    flagged = pl.DataFrame({"sale_date": [2, 1, 2, 2], "measure": ["unit_price", "quantity", "quantity", "unit_price"]})
    assert flagged_by_day(flagged).rows() == [(1, 0, 1), (2, 2, 1)]

"""Elasticities: demand made by a law whose exponent must be found again, and weeks counted by hand."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from retail_platform.contracts import PRICE_ELASTICITY
from retail_platform.transforms.price_elasticity import elasticities_are_plausible, price_elasticities, product_weeks
from retail_platform.transforms.quality import contract_holds
from retail_platform_tests.transforms.frames import silver_lines

MONDAY, AS_OF = date(2010, 1, 4), date(2011, 12, 31)
PRICES = [Decimal("2.00"), Decimal("2.00"), Decimal("2.50"), Decimal("1.60"), Decimal("2.00")]


def weeks_of(code: str = "A", count: int = 100, power: float = -2.0, noise: float = 0.0) -> pl.DataFrame:
    """Weeks in which units follow a power of the price, a trend and a month's effect."""
    drawn = np.random.default_rng(1)
    rows = []
    for number in range(count):
        week, price = MONDAY + timedelta(weeks=number), PRICES[number % len(PRICES)]
        level = 1e8 * 1.01**number * (1 + week.month % 3) * float(np.exp(noise * drawn.normal()))
        rows.append((code, week, round(level * float(price) ** power), price))
    return pl.DataFrame(rows, schema=["stock_code", "week", "units", "price"], orient="row").cast(
        {"price": pl.Decimal(18, 4)}
    )


@pytest.mark.parametrize("power", [-2.0, -0.5, 0.0, 1.0])
def test_the_exponent_is_found_beside_trend_and_months(power: float) -> None:
    frame = price_elasticities(weeks_of(power=power), AS_OF)

    assert contract_holds(PRICE_ELASTICITY, frame).passed
    columns = ("stock_code", "week_count", "moved_week_count", "lowest_price", "median_price", "highest_price")
    assert frame.select(columns).rows() == [("A", 100, 40, Decimal("1.6"), Decimal(2), Decimal("2.5"))]
    assert frame["elasticity"].item() == pytest.approx(power, abs=1e-5)
    assert frame["r_squared"].item() == pytest.approx(1, abs=1e-5)


def test_it_equals_least_squares_with_dummies() -> None:
    """Two products with noise, against matrices with a column for each month; errors by White's formula."""
    weeks = pl.concat([weeks_of("A", noise=0.4), weeks_of("B", 60, power=-0.3, noise=1.0)])
    frame = price_elasticities(weeks.sample(fraction=1, shuffle=True, seed=1), AS_OF)
    assert frame["stock_code"].to_list() == ["A", "B"]
    # Quantiles of Student's t with 100 - 14 and 60 - 14 degrees of freedom, from a table.
    for row, quantile in zip(frame.iter_rows(named=True), (1.98793, 2.01290), strict=True):
        one = weeks.filter(pl.col("stock_code") == row["stock_code"])
        months = one["week"].dt.month().to_dummies().to_numpy().astype(float)
        trend = one["week"].to_physical().to_numpy().astype(float) / 7_000
        x, y = (
            np.column_stack([one["price"].cast(float).log().to_numpy(), trend, months]),
            one["units"].log().to_numpy(),
        )
        inverse = np.linalg.inv(x.T @ x)
        rest = y - x @ inverse @ x.T @ y
        variance = inverse @ (x.T * rest**2) @ x @ inverse * len(y) / (len(y) - x.shape[1])
        elasticity, error = (inverse @ x.T @ y)[0], variance[0, 0] ** 0.5
        expected = [elasticity, error, elasticity - quantile * error, elasticity + quantile * error]
        names = ("elasticity", "standard_error", "elasticity_low", "elasticity_high", "r_squared")
        fit = 1 - float(rest @ rest) / float(((y - y.mean()) ** 2).sum())
        assert [row[name] for name in names] == pytest.approx([*expected, fit], abs=2e-5)


@pytest.mark.parametrize(
    "weeks",
    [
        weeks_of(count=25),
        weeks_of().with_columns(price=pl.lit(Decimal("2.00"), pl.Decimal(18, 4))),
        weeks_of().with_columns(price=pl.col("price") * 0 + 2 + pl.col("units") % 2 * Decimal("0.09")),
        weeks_of().with_columns(price=pl.when(pl.col("week") < date(2010, 2, 1)).then(3).otherwise(2)),
        weeks_of().clear(),
    ],
    ids=["few weeks", "one price", "small moves", "few moves", "none"],
)
def test_without_enough_weeks_and_moves_there_is_no_estimate(weeks: pl.DataFrame) -> None:
    frame = price_elasticities(weeks.cast({"price": pl.Decimal(18, 4)}), AS_OF)

    assert frame.is_empty()
    assert contract_holds(PRICE_ELASTICITY, frame).passed
    assert elasticities_are_plausible(frame).passed


def test_units_that_never_move_are_inelastic() -> None:
    frame = price_elasticities(weeks_of().with_columns(units=pl.lit(7)), AS_OF)

    assert contract_holds(PRICE_ELASTICITY, frame).passed
    assert frame.select("elasticity", "standard_error", "r_squared").rows() == [(0.0, 0.0, None)]


def test_a_price_that_only_follows_the_trend_is_not_estimated() -> None:
    """A price raised by the same share each week moves enough, but nothing of it is left beside the trend."""
    rising = weeks_of().with_columns(price=(pl.int_range(pl.len()) * 0.01).exp().cast(pl.Decimal(18, 4)))

    assert price_elasticities(rising, AS_OF).is_empty()


def line(day: int, quantity: int, price: str, **more: Any) -> dict[str, Any]:
    return {"sale_date": date(2011, 1, day), "quantity": quantity, "unit_price": Decimal(price), **more}


def test_bulk_guests_cancellations_and_torn_weeks_set_no_price() -> None:
    """January 2011 begins on a Saturday and ends on a Monday; the lower median quantity is 2."""
    lines = silver_lines(
        line(1, 1, "9"),
        line(3, 1, "2.00"),
        line(4, 2, "2.50"),
        line(5, 100, "0.50"),
        line(6, 1, "7", customer_id=None),
        line(7, -1, "8", is_cancelled=True),
        line(7, 1, "6", line_type="postage"),
        line(10, 100, "0.50"),
        line(17, 2, "3.00"),
        line(31, 2, "9"),
    )
    weeks = product_weeks(lines.lazy(), date(2011, 1, 31)).sort("week")

    assert weeks.drop("stock_code").rows() == [
        (date(2011, 1, 3), 103, Decimal("2")),
        (date(2011, 1, 17), 2, Decimal("3")),
    ]


def test_too_many_positive_elasticities_are_found() -> None:
    frame = price_elasticities(pl.concat([weeks_of("A", noise=0.1), weeks_of("B", power=1.0, noise=0.1)]), AS_OF)

    assert elasticities_are_plausible(frame.head(1)).passed
    finding = elasticities_are_plausible(frame)
    assert not finding.passed
    assert finding.evidence["above_zero"]["stock_code"].to_list() == ["B"]

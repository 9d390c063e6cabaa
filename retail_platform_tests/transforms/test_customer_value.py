"""Customers' histories and what is foretold of them: by hand, and on customers whose orders are known."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from retail_platform.contracts import CUSTOMER_VALUE
from retail_platform.transforms.customer_value import FEWEST_REPEATERS, customer_values, order_days
from retail_platform.transforms.quality import contract_holds, holdout_deciles, holdout_is_calibrated
from retail_platform_tests.transforms.frames import silver_lines

AS_OF = date(2011, 6, 30)
MONDAY = date(2011, 1, 10)
FORETOLD = ("probability_alive", "churn_probability", "expected_orders_90d", "predicted_value_12m")


def orders_of(customers: int) -> pl.DataFrame:
    """Customers who order at a rate of their own, and after each order leave with one probability."""
    random, rows = np.random.default_rng(1), []
    for number in range(customers):
        day, gap, mean = date(2010, 3, 1) + timedelta(days=number % 200), random.gamma(2, 15) + 2, random.gamma(4, 10)
        while day <= AS_OF:
            rows.append((f"{number:05}", day, Decimal(f"{random.gamma(3, mean / 3) + 0.01:.4f}")))
            day += timedelta(days=1 + int(random.exponential(gap)))
            if random.random() < 0.1:
                break
    schema = {"customer_id": pl.String, "sale_date": pl.Date, "amount": pl.Decimal(38, 4)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_an_order_is_a_day_with_uncancelled_products() -> None:
    lines = silver_lines(
        {"invoice_no": "1", "quantity": 2, "unit_price": 3},
        {"invoice_no": "2", "quantity": 1, "unit_price": 4},
        {"sale_date": date(2011, 1, 11), "line_type": "postage"},
        {"sale_date": date(2011, 1, 12), "is_cancelled": True, "quantity": -1},
        {"sale_date": date(2011, 1, 13), "quantity": -1},
        {"sale_date": date(2011, 1, 14), "customer_id": None},
    )

    assert order_days(lines.lazy()).collect().rows() == [("13085", MONDAY, Decimal(10))]


def test_histories_are_summed_up_and_few_customers_are_not_foretold() -> None:
    orders = pl.DataFrame(
        [("2", MONDAY, Decimal(5)), ("1", MONDAY, Decimal(10)), ("1", date(2011, 3, 1), Decimal("5.5"))],
        schema=orders_of(0).schema,
        orient="row",
    )
    frame, parameters = customer_values(orders, AS_OF)
    columns = ("order_days", "first_order_date", "last_order_date", "mean_order_value", "historical_value")

    assert frame.select("customer_id", *columns).rows() == [
        ("1", 2, MONDAY, date(2011, 3, 1), Decimal("7.75"), Decimal("15.5")),
        ("2", 1, MONDAY, MONDAY, Decimal(5), Decimal(5)),
    ]
    assert frame.select(pl.col(FORETOLD).null_count()).row(0) == (2,) * len(FORETOLD)
    assert parameters == {}
    assert contract_holds(CUSTOMER_VALUE, frame).passed
    assert holdout_is_calibrated(frame).passed


def test_customers_are_foretold_and_held_out() -> None:
    orders = orders_of(400)
    frame, parameters = customer_values(orders, AS_OF)
    cut = AS_OF - timedelta(days=180)
    first = frame.row(7, named=True)

    assert parameters.keys() == {"r", "alpha", "a", "b", "p", "q", "v"}
    assert contract_holds(CUSTOMER_VALUE, frame).passed
    assert holdout_is_calibrated(frame).passed
    assert 0 < frame["holdout_order_days"].sum() <= orders.filter(pl.col("sale_date") > cut).height
    assert first["churn_probability"] > 1 - first["probability_alive"]
    assert frame.filter(pl.col("order_days") == 1)["churn_probability"].min() > 0  # type: ignore[operator]
    assert first["predicted_value_12m"] > first["expected_order_value"] * Decimal(first["expected_orders_90d"])
    repeaters = frame.filter(pl.col("order_days") > 3)
    just_now = pl.col("last_order_date") > AS_OF - timedelta(days=10)
    silent = repeaters.filter(pl.col("last_order_date") < cut)["probability_alive"]
    assert silent.max() < repeaters.filter(just_now)["probability_alive"].min()  # type: ignore[operator]


def test_the_order_of_rows_changes_nothing() -> None:
    orders = orders_of(100)

    assert customer_values(orders, AS_OF)[0].equals(customer_values(orders.sample(fraction=1, shuffle=True), AS_OF)[0])


def test_what_was_known_before_decides_the_hold_out() -> None:
    orders, cut = orders_of(100), AS_OF - timedelta(days=180)
    known = orders.filter(pl.col("sale_date") <= cut)
    came = [known.unique("customer_id", keep="first").with_columns(sale_date=AS_OF - timedelta(days=n)) for n in (0, 1)]
    before, after = (
        customer_values(frame, AS_OF)[0].drop_nulls("holdout_order_days")
        for frame in (orders, pl.concat([known, *came]))
    )

    foretold = pl.col("holdout_churn_probability", "holdout_expected_orders", "holdout_expected_value")
    assert after.select(foretold).equals(before.select(foretold))
    assert after["holdout_order_days"].unique().to_list() == [2]
    assert after["holdout_value"].sum() == sum(frame["amount"].sum() for frame in came)


@pytest.fixture(scope="module")
def foretold() -> pl.DataFrame:
    return customer_values(orders_of(400), AS_OF)[0]


def total(column: str, of: str, factor: float) -> pl.Expr:
    """The column, so that its total is so many times that of the other."""
    return pl.col(column) * (factor * pl.col(of).cast(pl.Float64).sum() / pl.col(column).cast(pl.Float64).sum())


SILENT = (pl.col("holdout_order_days") == 0).cast(pl.Float64)
CHURN = "holdout_churn_probability"


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (total("holdout_expected_orders", "holdout_order_days", 1.14), "nothing"),
        (total("holdout_expected_orders", "holdout_order_days", 0.86), "nothing"),
        (total("holdout_expected_orders", "holdout_order_days", 1.16), "order_days"),
        (total("holdout_expected_orders", "holdout_order_days", 0.84), "order_days"),
        (total("holdout_expected_value", "holdout_value", 1.24), "nothing"),
        (total("holdout_expected_value", "holdout_value", 0.76), "nothing"),
        (total("holdout_expected_value", "holdout_value", 1.26), "value"),
        (total("holdout_expected_value", "holdout_value", 0.74), "value"),
        (pl.col("holdout_expected_value") * 10, "value"),
        ((0.05 + 0.9 * SILENT).alias(CHURN), "nothing"),
        ((0.3 + 0.7 * SILENT).alias(CHURN), "silent_share"),
        (SILENT.mean().alias(CHURN), "churn_auc"),
        ((0.6 - 0.1 * SILENT).alias(CHURN), "churn_auc"),
        (pl.lit(1.0).alias(CHURN), "silent_share, churn_auc"),
    ],
)
def test_what_is_out_of_bounds_is_found(foretold: pl.DataFrame, changed: pl.Expr, wrong: str) -> None:
    known = foretold.drop_nulls("holdout_order_days").with_columns(changed)
    finding = holdout_is_calibrated(known)

    assert finding.description.endswith(f"Out of bounds: {wrong}.")
    assert finding.passed is (wrong == "nothing")


def test_the_churn_of_the_hold_out_is_ranked_with_ties_by_half(foretold: pl.DataFrame) -> None:
    churn, came = [0.1, 0.5, 0.5, 0.9, 0.9], [1, 0, 2, 0, 1]
    known = foretold.drop_nulls("holdout_order_days").head(5)
    ranked = known.with_columns(pl.Series(CHURN, churn), pl.Series("holdout_order_days", came))
    alike = known.with_columns(holdout_order_days=pl.lit(1, dtype=pl.Int64))

    # Of the six pairs of one that stayed away and one that came: right 1, half, wrong; right, right, half.
    assert holdout_is_calibrated(ranked).evidence["churn_auc"] == pytest.approx(4 / 6)
    assert holdout_is_calibrated(alike).evidence["churn_auc"] is None


def test_tenths_of_the_hold_out_are_equal_in_size(foretold: pl.DataFrame) -> None:
    known = foretold.drop_nulls("holdout_order_days").head(100)

    assert holdout_deciles(known)["customers"].to_list() == [10] * 10


@pytest.mark.parametrize(
    "lost", ["probability_alive", "expected_order_value", "holdout_expected_orders", "holdout_expected_value"]
)
def test_a_model_that_could_not_be_fitted_is_found(foretold: pl.DataFrame, lost: str) -> None:
    finding = holdout_is_calibrated(foretold.with_columns(pl.lit(None, dtype=pl.Float64).alias(lost)))

    assert not finding.passed
    assert lost in finding.description


def test_a_failed_fit_says_why() -> None:
    orders = orders_of(2 * FEWEST_REPEATERS)
    means = 10 ** (pl.col("customer_id").cast(pl.Float64) / 15)
    frame, said = customer_values(orders.with_columns(amount=means.cast(pl.Decimal(38, 4))), AS_OF)
    finding = holdout_is_calibrated(frame)

    assert {name for name in said if name.endswith("_error")} == {"values_fit_error", "holdout_values_fit_error"}
    assert "has no mean itself" in str(said["values_fit_error"])
    assert frame["expected_orders_90d"].null_count() == frame["expected_order_value"].count() == 0
    assert contract_holds(CUSTOMER_VALUE, frame).passed
    assert not finding.passed
    assert "expected_order_value, holdout_expected_value" in finding.description

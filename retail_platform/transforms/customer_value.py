"""What each customer has bought, and what the models of lifetimes expect of it; with a hold-out that shows how well.

The models themselves are in `lifetimes.py`; which lines are read and when a table is made again stays with the caller.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl

from retail_platform.contracts import CUSTOMER_VALUE
from retail_platform.transforms.lifetimes import FitError, Histories, OrderModel, ValueModel, fit_orders, fit_values

HOLDOUT_DAYS = 180
"""The last days, foretold from what was known before them and compared with what came.

As many days ahead without an order are churn."""
NEXT_ORDERS_DAYS = 90
YEAR_DAYS = 365
FEWEST_REPEATERS = 50
"""Customers with two order days or more that a model is fitted to; with fewer the parameters are noise."""

HISTORY = {
    "order_days": pl.len().cast(pl.Int64),
    "first_order_date": pl.col("sale_date").min(),
    "last_order_date": pl.col("sale_date").max(),
    "historical_value": pl.col("amount").sum().cast(pl.Decimal(18, 4)),
}


def order_days(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The days on which customers ordered: those whose uncancelled product lines sum to more than 0.

    Args:
        lines: silver lines of whole days (customer_id, sale_date, line_type, is_cancelled, line_amount); guests are
            left out.

    Returns:
        One row per customer and day: customer_id, sale_date, amount.
    """
    bought = (pl.col("line_type") == "product") & ~pl.col("is_cancelled") & pl.col("customer_id").is_not_null()
    days = lines.filter(bought).group_by("customer_id", "sale_date").agg(amount=pl.col("line_amount").sum())
    return days.filter(pl.col("amount") > 0)


def customer_values(orders: pl.DataFrame, as_of: date) -> tuple[pl.DataFrame, dict[str, float | str]]:
    """Sum up every customer's order days and foretell the coming ones.

    Args:
        orders: as `order_days` gives them, none later than as_of.
        as_of: the day at whose end everything is judged.

    Returns:
        Rows of contract `CustomerValue`, ordered by customer_id; and the fitted parameters by name, with the reason for
        each fit that failed (`orders_fit_error`, `values_fit_error`, those of the hold-out with `holdout_` before).
        What the models would say is null for such a fit, and where fewer than `FEWEST_REPEATERS` customers came back.
    """
    known = _histories(orders)
    models = _fitted(known, as_of)
    held_out, errors = _held_out(orders, as_of - timedelta(days=HOLDOUT_DAYS))
    frame = (
        _foretold(known, as_of, models)
        .join(held_out, on="customer_id", how="left")
        .select(pl.col(name).cast(dtype) for name, dtype in CUSTOMER_VALUE.schema.items())
        .sort("customer_id")
    )
    said = [vars(model) for model in (models.orders, models.values) if model] + [models.errors]
    said.append({f"holdout_{name}": reason for name, reason in errors.items()})
    return frame, {name: value for part in said for name, value in part.items()}


@dataclass
class _Models:
    """What is fitted to customers, and why what is not could not be; neither where too few came back."""

    orders: OrderModel | None = None
    values: ValueModel | None = None
    errors: dict[str, str] = field(default_factory=dict)


def _fitted(known: pl.DataFrame, end: date) -> _Models:
    """Values are fitted to those with two order days or more: one order says nothing of how a customer's scatter."""
    repeaters, models = known.filter(pl.col("order_days") > 1), _Models()
    if repeaters.height < FEWEST_REPEATERS:
        return models
    try:
        models.orders = fit_orders(_as_model_sees(known, end))
    except FitError as error:
        models.errors["orders_fit_error"] = str(error)
    try:
        models.values = fit_values(*_counts_and_means(repeaters))
    except FitError as error:
        models.errors["values_fit_error"] = str(error)
    return models


def _histories(orders: pl.DataFrame) -> pl.DataFrame:
    """One row per customer, in order: the same rows in another order must not move a sum's last digit."""
    return orders.group_by("customer_id").agg(**HISTORY).sort("customer_id")


def _held_out(orders: pl.DataFrame, cut: date) -> tuple[pl.DataFrame, dict[str, str]]:
    """What was expected of each customer known at the end of the cut for the days after it, and what came."""
    known = _histories(orders.filter(pl.col("sale_date") <= cut))
    models = _fitted(known, cut)
    coming = _expected(models.orders, known, cut, HOLDOUT_DAYS)
    expected = known.select(
        "customer_id",
        holdout_churn_probability=_churn(models.orders, known, cut),
        holdout_expected_orders=coming,
        holdout_expected_value=(coming * _order_value(models.values, known)).round(4),
    )
    later = orders.filter(pl.col("sale_date") > cut).group_by("customer_id")
    came = later.agg(holdout_order_days=pl.len(), holdout_value=pl.col("amount").sum())
    compared = expected.join(came, on="customer_id", how="left")
    return compared.with_columns(pl.col("holdout_order_days", "holdout_value").fill_null(0)), models.errors


def _foretold(known: pl.DataFrame, as_of: date, models: _Models) -> pl.DataFrame:
    orders, value = models.orders, _order_value(models.values, known)
    alive = _floats(None if orders is None else orders.probability_alive(_as_model_sees(known, as_of)), known)
    year = _expected(orders, known, as_of, YEAR_DAYS)
    return known.with_columns(
        as_of_date=pl.lit(as_of),
        mean_order_value=(pl.col("historical_value").cast(pl.Float64) / pl.col("order_days")).round(4),
        probability_alive=alive.round(6),
        churn_probability=_churn(orders, known, as_of),
        expected_orders_90d=_expected(orders, known, as_of, NEXT_ORDERS_DAYS),
        expected_order_value=value.round(4),
        predicted_value_12m=(year * value).round(4),
    )


def _churn(model: OrderModel | None, known: pl.DataFrame, end: date) -> pl.Series:
    found = None if model is None else model.probability_silent(_as_model_sees(known, end), HOLDOUT_DAYS)
    return _floats(found, known).round(6)


def _expected(model: OrderModel | None, known: pl.DataFrame, end: date, days: int) -> pl.Series:
    found = None if model is None else model.expected_orders(_as_model_sees(known, end), days)
    return _floats(found, known).round(6)


def _order_value(model: ValueModel | None, known: pl.DataFrame) -> pl.Series:
    return _floats(None if model is None else model.expected_value(*_counts_and_means(known)), known)


def _as_model_sees(known: pl.DataFrame, end: date) -> Histories:
    first, last = pl.col("first_order_date"), pl.col("last_order_date")
    seen = known.select(
        (pl.col("order_days") - 1).alias("repeats"),
        (last - first).dt.total_days().alias("recency"),
        (pl.lit(end) - first).dt.total_days().alias("age"),
    ).cast(pl.Float64)
    return Histories(*(seen[name].to_numpy() for name in ("repeats", "recency", "age")))


def _counts_and_means(known: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    counts = known["order_days"].cast(pl.Float64).to_numpy()
    return counts, known["historical_value"].cast(pl.Float64).to_numpy() / counts


def _floats(values: np.ndarray | None, known: pl.DataFrame) -> pl.Series:
    """The values, at least 0; null for all without a model, and where its formula leaves the range of floats."""
    found = pl.Series([None] * known.height if values is None else values, dtype=pl.Float64)
    return found.set(~found.is_finite(), None).clip(0)

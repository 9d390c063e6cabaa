"""Products of twelve months: ABC by revenue, XYZ by variability, and return rates.

Which days are counted stays with the caller. The classes over all time are a mart (`product_performance`).
"""

from datetime import date
from decimal import Decimal

import polars as pl

from retail_platform.contracts import PRODUCT_DEMAND
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

A_UP_TO, B_UP_TO = Decimal("0.80"), Decimal("0.95")
"""Of all net revenue."""
X_UP_TO, Y_UP_TO = 0.5, 1.0
"""Coefficient of variation of monthly units."""
FEWEST_MONTHS = 6
"""A product observed for fewer has no XYZ class."""
MOST_UNMATCHED = 0.25
"""Of all units returned: 0.10 in the public data."""

BUYER = ["customer_id", "stock_code"]


def with_matched_units(lines: pl.LazyFrame) -> pl.DataFrame:
    """Match what was returned with what the same customer bought of the product before.

    A customer's balance of a product rises with every sale and falls with every return, never below zero; what a return
    takes from it is matched. The units that are not are, in sum, the highest that returns ever exceeded sales by.

    Args:
        lines: product lines (sale_month, stock_code, customer_id, invoiced_at, quantity, unit_price), of all days that
            may match; only those of a customer and product with a return are held.

    Returns:
        The lines with a negative quantity, with matched_units (0 for a guest's) instead of customer_id; in no order.
    """
    lines = lines.select(*BUYER, "sale_month", "invoiced_at", "quantity", "unit_price")
    returns = lines.filter(pl.col("quantity") < 0).collect(engine="streaming")
    matching = returns.drop_nulls("customer_id").select(BUYER).unique().lazy()
    known = lines.join(matching, on=BUYER, how="semi").collect(engine="streaming")
    # At one time what was sold comes first; equal returns are interchangeable.
    ordered = known.sort(*BUYER, "invoiced_at", "quantity", "unit_price", descending=[False, False, False, True, True])
    short = (-pl.col("quantity").cast(pl.Int64)).cum_sum().over(BUYER).cum_max().over(BUYER).clip(lower_bound=0)
    unmatched = pl.col("short") - pl.col("short").shift(1, fill_value=0).over(BUYER)
    matched = ordered.with_columns(short=short).with_columns(matched_units=-pl.col("quantity") - unmatched)
    guests = returns.filter(pl.col("customer_id").is_null()).with_columns(matched_units=pl.lit(0, pl.Int64))
    return pl.concat([matched.filter(pl.col("quantity") < 0).drop("short"), guests]).drop("customer_id")


def product_demand(lines: pl.LazyFrame, first_months: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Make the table of products.

    Args:
        lines: the product lines of twelve months: sale_month, stock_code, customer_id, invoiced_at, quantity,
            unit_price, line_amount.
        first_months: stock_code and first_month, the month of the product's first line ever.
        as_of: the last day of the twelve months.

    Returns:
        Contract `ProductDemand`, ordered by stock_code.
    """
    months = _months(lines).join(first_months, on="stock_code", how="left")
    since = 12 * (as_of.year - pl.col("first_month").dt.year()) + as_of.month - pl.col("first_month").dt.month() + 1
    counted = months.with_columns(observed_months=pl.min_horizontal(since, 12)).with_columns(
        units=pl.col("sold_unit_count") - pl.col("returned_unit_count")
    )
    amounts = [
        name for name in PRODUCT_DEMAND.schema if name in counted.columns and name.endswith(("_count", "_amount"))
    ]
    summed = counted.group_by("stock_code").agg(
        pl.col("net_revenue", *amounts).sum(),
        pl.col("observed_months").first(),
        sold_months=(pl.col("sold_unit_count") > 0).sum(),
        units=pl.col("units").sum(),
        square=(pl.col("units") ** 2).sum(),
    )
    classed = _with_xyz(_with_abc(summed)).with_columns(
        unit_return_rate_pct=_percent("returned_unit_count", "sold_unit_count"),
        amount_return_rate_pct=_percent("returned_amount", "sold_amount"),
        abc_xyz_class=pl.concat_str("abc_class", "xyz_class"),
        as_of_date=pl.lit(as_of),
    )
    return classed.select(pl.col(name).cast(dtype) for name, dtype in PRODUCT_DEMAND.schema.items()).sort("stock_code")


def classes_cover_the_revenue(demand: pl.DataFrame, revenue: Decimal) -> Finding:
    """Whether the products' revenue is silver's, is sales less returns, and the shares sum to 100 %.

    Args:
        demand: the products (contract `ProductDemand`).
        revenue: the amount of all product lines of the twelve months.
    """
    found = Decimal(demand["net_revenue"].sum() or 0)
    parts = pl.col("sold_amount") - pl.col("returned_amount") - pl.col("unmatched_amount")
    torn = demand.filter(parts != pl.col("net_revenue"))
    shares = float(demand["revenue_share_pct"].sum()) if demand["revenue_share_pct"].count() else 100.0
    return Finding(
        "classes_cover_the_revenue",
        found == revenue and torn.is_empty() and abs(shares - 100) < 0.01,
        f"The products sold for {found}, silver has {revenue}; the shares sum to {shares:.4f} %; of {torn.height} "
        "products revenue is not what was sold less what was returned; expected none.",
        {"classes": _matrix(demand), "torn": torn.head(EVIDENCE_ROWS)},
    )


def returns_are_of_sales(demand: pl.DataFrame) -> Finding:
    """Whether no product has more returned than sold, and three quarters of all units returned have a sale.

    Args:
        demand: the products (contract `ProductDemand`).
    """
    unmatched, returned = (int(demand[name].sum()) for name in ("unmatched_unit_count", "returned_unit_count"))
    is_more = (pl.col("returned_unit_count") > pl.col("sold_unit_count")) | (
        pl.col("returned_amount") > pl.col("sold_amount")
    )
    more = demand.filter(is_more).select("stock_code", "^(sold|returned)_.*(count|amount)$")
    return Finding(
        "returns_are_of_sales",
        more.is_empty() and unmatched <= MOST_UNMATCHED * (unmatched + returned),
        f"Of {more.height} products more was returned than sold; {unmatched} of {unmatched + returned} units returned "
        f"have no earlier sale in the twelve months ({100 * MOST_UNMATCHED:.0f} % may).",
        {"more_returned_than_sold": more.head(EVIDENCE_ROWS)},
    )


def _months(lines: pl.LazyFrame) -> pl.DataFrame:
    """One row per stock_code and sale_month: units and amounts sold, returned and unmatched, net_revenue."""
    sold = pl.when(pl.col("quantity") > 0)
    sales = (
        lines.select(
            "stock_code",
            "sale_month",
            net_revenue="line_amount",
            sold_unit_count=sold.then(pl.col("quantity").cast(pl.Int64)),
            sold_amount=sold.then(pl.col("line_amount")),
        )
        .group_by("stock_code", "sale_month")
        .agg(pl.col("net_revenue", "sold_unit_count", "sold_amount").sum())
        .collect(engine="streaming")
    )
    back = -pl.col("quantity") - pl.col("matched_units")
    price = pl.col("unit_price")
    returns = (
        with_matched_units(lines)
        .group_by("stock_code", "sale_month")
        .agg(
            returned_unit_count=pl.col("matched_units").sum(),
            returned_amount=(price * pl.col("matched_units")).sum(),
            unmatched_unit_count=back.sum(),
            unmatched_amount=(price * back).sum(),
        )
    )
    return sales.join(returns, on=["stock_code", "sale_month"], how="left").with_columns(
        pl.col("^(returned|unmatched)_.*$").fill_null(0)
    )


def _with_abc(products: pl.DataFrame) -> pl.DataFrame:
    """The rule of the mart `product_performance`: the product that crosses a limit belongs to the class it fills."""
    ranked = products.sort("net_revenue", "stock_code", descending=[True, False])
    total = pl.col("net_revenue").sum()
    before = pl.col("net_revenue").cum_sum() - pl.col("net_revenue")
    return ranked.with_columns(
        revenue_rank=pl.int_range(1, pl.len() + 1),
        revenue_share_pct=_percent(pl.col("net_revenue"), total),
        abc_class=pl.when(pl.col("net_revenue") <= 0)
        .then(pl.lit("C"))
        .when(before < A_UP_TO * total)
        .then(pl.lit("A"))
        .when(before < B_UP_TO * total)
        .then(pl.lit("B"))
        .otherwise(pl.lit("C")),
    )


def _with_xyz(products: pl.DataFrame) -> pl.DataFrame:
    """Mean and sample standard deviation over the observed months, those without a line included as 0."""
    count, units = pl.col("observed_months").cast(pl.Int64), pl.col("units")
    deviation = ((pl.col("square") * count - units**2) / (count * (count - 1))).sqrt()
    variation = pl.when(units > 0, count > 1).then(deviation / (units / count)).round(6)
    measured = products.with_columns(mean_monthly_units=(units / count).round(6), unit_variation=variation)
    return measured.with_columns(
        xyz_class=pl.when(count < FEWEST_MONTHS)
        .then(pl.lit("N"))
        .when(pl.col("unit_variation") <= X_UP_TO)
        .then(pl.lit("X"))
        .when(pl.col("unit_variation") <= Y_UP_TO)
        .then(pl.lit("Y"))
        .otherwise(pl.lit("Z"))
    )


def _percent(part: str | pl.Expr, whole: str | pl.Expr) -> pl.Expr:
    """Part of whole in percent, 6 decimals; null where the whole is 0."""
    part, whole = (pl.col(each) if isinstance(each, str) else each for each in (part, whole))
    return pl.when(whole != 0).then(100 * part.cast(pl.Float64) / whole.cast(pl.Float64)).round(6)


def _matrix(demand: pl.DataFrame) -> pl.DataFrame:
    """Products and their share of revenue, by both classes."""
    return (
        demand.group_by("abc_class", "xyz_class")
        .agg(products=pl.len(), revenue_share_pct=pl.col("revenue_share_pct").sum().round(2))
        .sort("abc_class", "xyz_class")
    )

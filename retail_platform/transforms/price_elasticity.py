"""Price elasticity of products: weekly units against the weekly price, each product by itself, all at once.

Which days are counted stays with the caller. The estimate is an association: the shop chose its prices.
"""

from datetime import date, timedelta

import polars as pl

from retail_platform.contracts import PRICE_ELASTICITY
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

FEWEST_WEEKS = 26
FEWEST_MOVED_WEEKS = 5
MOVED_BY = 0.05
"""Of the median price: by so much a week's price has to differ to count as moved."""
LEAST_SPREAD = 0.05
"""Standard deviation of the log price after months and trend."""
MOST_POSITIVE = 0.05
"""Of the intervals: so many may lie wholly above 0; chance alone gives a fortieth."""
BOUNDS = 0.975
"""Both ends of a 95 % interval."""

CELL = ["stock_code", "month"]
WEEK = ["stock_code", "week"]


def product_weeks(lines: pl.LazyFrame, as_of: date) -> pl.DataFrame:
    """Units and price of each product's whole weeks, of what known customers bought.

    The price is that of the small lines, which have at most the product's lower median quantity: a bulk discount moves
    price and units together without any change of the price list. So do guests' prices, which are other ones.

    Args:
        lines: silver lines of whole months (line_type, is_cancelled, customer_id, sale_date, stock_code, quantity,
            unit_price); they are counted, never held.
        as_of: their last day.

    Returns:
        stock_code, week (its Monday), units, price (lower median of the small lines); weeks without one have no row.
    """
    bought = (pl.col("line_type") == "product") & ~pl.col("is_cancelled") & (pl.col("quantity") > 0)
    sold = lines.filter(bought & pl.col("customer_id").is_not_null())
    first = sold.select(pl.col("sale_date").min()).collect(engine="streaming").item() or as_of
    week = pl.col("sale_date").dt.truncate("1w")
    kept = sold.select("stock_code", "quantity", "unit_price", week=week)
    kept = kept.filter((pl.col("week") >= first) & (pl.col("week") + timedelta(days=6) <= as_of))
    usual = _lower_median(kept, ["stock_code"], "quantity", "usual")
    small = kept.join(usual.lazy(), on="stock_code").filter(pl.col("quantity") <= pl.col("usual"))
    prices = _lower_median(small, WEEK, "unit_price", "price")
    units = kept.group_by(WEEK).agg(units=pl.col("quantity").cast(pl.Int64).sum()).collect(engine="streaming")
    weeks = units.join(prices, on=WEEK).select(*WEEK, "units", "price")
    return weeks.cast({"price": PRICE_ELASTICITY.schema["median_price"]})


def _lower_median(lines: pl.LazyFrame, by: list[str], column: str, name: str) -> pl.DataFrame:
    """The smallest value that at least half of a group's lines do not exceed, of counts by value."""
    counted = lines.group_by(*by, column).agg(pl.len().cast(pl.Int64).alias("lines")).collect(engine="streaming")
    reached = pl.col("lines").cum_sum().over(by, order_by=column) * 2
    upper = counted.filter(reached >= pl.col("lines").sum().over(by))
    return upper.group_by(by).agg(pl.col(column).min().alias(name))


def price_elasticities(weeks: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Estimate the elasticity of every product with enough weeks and a price that varied enough.

    Least squares of log units on log price, one effect for each month of the year, and a straight trend. Months are
    taken out by subtracting their means, the trend by the residual of the price on it (Frisch, Waugh and Lovell), so
    that only sums are left to form.

    Args:
        weeks: as `product_weeks` gives them.
        as_of: the last day they are of.

    Returns:
        Contract `PriceElasticity`, ordered by stock_code.
    """
    within = _without_months(_eligible(weeks.sort("stock_code", "week")))
    sums = within.group_by("stock_code").agg(*_sums(), *_described())
    left = pl.col("pp") - pl.col("pt") ** 2 / pl.col("tt")
    slope = (pl.col("py") - pl.col("ty") * pl.col("pt") / pl.col("tt")) / left
    fitted = (
        sums.filter(left >= LEAST_SPREAD**2 * pl.col("week_count"))
        .with_columns(left=left, elasticity=slope)
        .with_columns(trend=(pl.col("ty") - pl.col("elasticity") * pl.col("pt")) / pl.col("tt"))
    )
    return _with_errors(fitted, _residual_sums(within, fitted), as_of)


def elasticities_are_plausible(elasticities: pl.DataFrame) -> Finding:
    """Whether hardly any interval lies wholly above 0, where more would be bought the dearer it is.

    Args:
        elasticities: contract `PriceElasticity`.
    """
    count = max(elasticities.height, 1)
    positive = elasticities.filter(pl.col("elasticity_low") > 0)
    reaching = elasticities.filter(pl.col("elasticity_high") > 0).height
    return Finding(
        "elasticities_are_plausible",
        positive.height <= MOST_POSITIVE * count,
        f"Of {elasticities.height} intervals {positive.height} lie wholly above 0 ({100 * MOST_POSITIVE:.0f} % may), "
        f"and {reaching} ({100 * reaching / count:.0f} %) reach above it: of those products the sign is not known.",
        {"above_zero": positive.head(EVIDENCE_ROWS), "median": elasticities["elasticity"].median()},
    )


def _eligible(weeks: pl.DataFrame) -> pl.DataFrame:
    """The weeks of products with enough of them, with is_moved and the logarithms y (units) and p (price)."""
    logs = weeks.with_columns(
        y=pl.col("units").cast(pl.Float64).log(),
        p=pl.col("price").cast(pl.Float64).log(),
        t=pl.col("week").to_physical().cast(pl.Float64) / 364,
        month=pl.col("week").dt.month(),
        usual=pl.col("price").cast(pl.Float64).quantile(0.5, "lower").over("stock_code"),
    )
    moved = logs.with_columns(is_moved=(pl.col("price").cast(pl.Float64) / pl.col("usual") - 1).abs() >= MOVED_BY)
    return moved.filter(
        pl.len().over("stock_code") >= FEWEST_WEEKS, pl.col("is_moved").sum().over("stock_code") >= FEWEST_MOVED_WEEKS
    )


def _without_months(weeks: pl.DataFrame) -> pl.DataFrame:
    """With total, y less the product's mean; y, p and t less their means over the month of the year."""
    centred = weeks.with_columns(total=pl.col("y") - pl.col("y").mean().over("stock_code"))
    return centred.with_columns(pl.col("y", "p", "t") - pl.col("y", "p", "t").mean().over(CELL))


def _sums() -> list[pl.Expr]:
    pairs = (("p", "p"), ("p", "t"), ("t", "t"), ("p", "y"), ("t", "y"))
    products = [(pl.col(first) * pl.col(second)).sum().alias(first + second) for first, second in pairs]
    return [*products, (pl.col("total") ** 2).sum()]


def _described() -> list[pl.Expr]:
    return [
        pl.len().alias("week_count"),
        pl.col("is_moved").sum().alias("moved_week_count"),
        pl.col("units").sum().alias("unit_count"),
        pl.col("price").min().alias("lowest_price"),
        pl.col("usual").first().alias("median_price"),
        pl.col("price").max().alias("highest_price"),
        (pl.len() - pl.col("month").n_unique() - 2).alias("freedom"),
    ]


def _residual_sums(within: pl.DataFrame, fitted: pl.DataFrame) -> pl.DataFrame:
    """Per product the squared residuals, and these weighted by what the price varies by itself, squared."""
    joined = within.join(fitted.select("stock_code", "pt", "tt", "elasticity", "trend"), on="stock_code")
    rest = pl.col("y") - pl.col("elasticity") * pl.col("p") - pl.col("trend") * pl.col("t")
    own = pl.col("p") - pl.col("t") * pl.col("pt") / pl.col("tt")
    return joined.group_by("stock_code").agg(squares=(rest**2).sum(), weighted=(own**2 * rest**2).sum())


def _with_errors(fitted: pl.DataFrame, residuals: pl.DataFrame, as_of: date) -> pl.DataFrame:
    from scipy.special import stdtrit  # heavy, and most runs estimate nothing

    bounds = pl.Series("bound", stdtrit(fitted["freedom"].to_numpy(), BOUNDS), dtype=pl.Float64)
    count, left = pl.col("week_count"), pl.col("left")
    joined = fitted.with_columns(bounds).join(residuals, on="stock_code")
    measured = joined.with_columns(
        as_of_date=pl.lit(as_of),
        price_spread=(left / count).sqrt(),
        standard_error=(count / pl.col("freedom") * pl.col("weighted")).sqrt() / left,
        r_squared=pl.when(pl.col("total") > 0).then(1 - pl.col("squares") / pl.col("total")).clip(0, 1),
    )
    reach = pl.col("bound") * pl.col("standard_error")
    ends = {"elasticity_low": pl.col("elasticity") - reach, "elasticity_high": pl.col("elasticity") + reach}
    shaped = measured.with_columns(**ends).select(
        pl.col(name).cast(kind) for name, kind in PRICE_ELASTICITY.schema.items()
    )
    return shaped.with_columns(pl.selectors.float().round(6)).sort("stock_code")

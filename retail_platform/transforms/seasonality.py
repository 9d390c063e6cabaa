"""Seasonality: how far the months of a year, and the days of a week, are from their mean.

Ratio to the mean of each year by itself, so that growth from year to year is no season; then the mean over the years.
Which days are counted stays with the caller, and what a product's category is.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import polars as pl

from retail_platform.contracts import SEASONALITY_INDEX
from retail_platform.lakehouse.days import Days
from retail_platform.transforms.categories import UNCLASSIFIED
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

TOP_PRODUCTS = 200
"""Products with indices of their own: those with the most net revenue in the newest year."""
FIRST_MONTHS = 3
"""A product that is first sold later than in the first three months of the years would have its start for a season."""
LATEST_START = 7
"""Day of the month up to which the first sale may be for that month to count as whole."""
DAYS_OF_A_YEAR = 364
"""Of 52 weeks, so that every weekday is in a year equally often."""

GROUP = ["scope", "item", "cycle"]


def product_days(lines: pl.LazyFrame) -> pl.LazyFrame:
    """What was sold of each product on each day, cancellations deducted.

    Args:
        lines: silver lines of whole months.

    Returns:
        One row per (sale_date, stock_code): net_revenue, unit_count.
    """
    products = lines.filter(pl.col("line_type") == "product")
    return products.group_by("sale_date", "stock_code").agg(
        net_revenue=pl.col("line_amount").sum(), unit_count=pl.col("quantity").cast(pl.Int64).sum()
    )


def whole_years(days: pl.DataFrame, end: date) -> Days:
    """The days of the years of twelve whole months that end with the last closed one; none when there is no such year.

    Args:
        days: the days with a sale (sale_date), all before `end`.
        end: the first day of the open month.
    """
    first = days["sale_date"].min()
    if not isinstance(first, date):
        return Days(end, end)
    months = 12 * (end.year - first.year) + end.month - first.month - (first.day > LATEST_START)
    return Days(end.replace(year=end.year - months // 12), end)


def seasonality_indices(sold: pl.DataFrame, categories: pl.DataFrame, end: date) -> pl.DataFrame:
    """Make the table of indices.

    Args:
        sold: as `product_days` gives it, of all days before `end`.
        categories: stock_code and category; a product without a row is unclassified.
        end: the first day of the open month.

    Returns:
        Contract `SeasonalityIndex`, ordered by its key.
    """
    years = whole_years(sold, end)
    counted = sold.filter(pl.col("sale_date").is_between(years.start, end, closed="left"))
    months = _by_month(counted, end).join(categories, on="stock_code", how="left")
    sums = [
        _summed(months, "shop", pl.lit("all")),
        _summed(months, "category", pl.col("category").fill_null(UNCLASSIFIED)),
        _summed(months.join(_lasting(months, years), on="stock_code", how="semi"), "product", pl.col("stock_code")),
        _by_weekday(counted, years),
    ]
    count = years.end.year - years.start.year
    indices = _indexed(_gridded(pl.concat(sums), count)).with_columns(
        as_of_date=pl.lit(end).dt.offset_by("-1d"), year_count=pl.lit(count)
    )
    shaped = indices.select(pl.col(name).cast(dtype) for name, dtype in SEASONALITY_INDEX.schema.items())
    return shaped.sort(SEASONALITY_INDEX.key)


def indices_average_100(indices: pl.DataFrame) -> Finding:
    """Whether every cycle is whole, its indices average 100, and each lies between those of the single years.

    Args:
        indices: contract `SeasonalityIndex`.
    """
    cycles = indices.group_by(GROUP).agg(
        pl.len().alias("positions"), pl.col("^(revenue|unit)_index$").mean(), _lies_between().all().alias("is_between")
    )
    size = pl.when(pl.col("cycle") == "month").then(12).otherwise(7)
    is_even = ((pl.col("revenue_index", "unit_index") - 100).abs() < 0.001).name.keep()
    sound = pl.all_horizontal(pl.col("positions") == size, is_even, "is_between")
    wrong = cycles.filter(~sound)
    return Finding(
        "indices_average_100",
        wrong.is_empty(),
        f"{wrong.height} of {cycles.height} cycles are not whole, average other than 100, or leave the years' range.",
        {"wrong": wrong.sort(GROUP).head(EVIDENCE_ROWS)},
    )


def shop_has_all_revenue(indices: pl.DataFrame, revenue: Decimal) -> Finding:
    """Whether the shop's months sum to the product revenue of silver in the years that the indices rest on.

    Args:
        indices: contract `SeasonalityIndex`.
        revenue: the amount of all product lines of those years.
    """
    months = indices.filter((pl.col("scope") == "shop") & (pl.col("cycle") == "month"))
    found = Decimal(months["net_revenue"].sum() or 0)
    return Finding(
        "shop_has_all_revenue",
        months.is_empty() or found == revenue,
        f"The shop's {months.height} months sold for {found}, silver has {revenue} of the same years.",
    )


def years_of(indices: pl.DataFrame) -> Days | None:
    """The days that a table of indices was made from; None when it has no rows."""
    if indices.is_empty():
        return None
    last, count = indices.select("as_of_date", "year_count").row(0)
    end: date = pl.select(pl.lit(last).dt.offset_by("1d")).item()
    return Days(end.replace(year=end.year - count), end)


def _by_month(sold: pl.DataFrame, end: date) -> pl.DataFrame:
    """Per product, year (0 is the newest) and position, the month; with the day of the first sale."""
    month = pl.col("sale_date").dt.month()
    back = 12 * (end.year - pl.col("sale_date").dt.year()) + end.month - month - 1
    return sold.group_by("stock_code", year=back // 12, position=month).agg(
        pl.col("net_revenue", "unit_count").sum(), first_date=pl.col("sale_date").min()
    )


def _by_weekday(sold: pl.DataFrame, years: Days) -> pl.DataFrame:
    back = (pl.lit(years.end) - pl.col("sale_date")).dt.total_days() - 1
    days = sold.with_columns(year=back // DAYS_OF_A_YEAR, position=pl.col("sale_date").dt.weekday())
    whole = days.filter(pl.col("year") < years.end.year - years.start.year)
    return _summed(whole, "shop", pl.lit("all"), "weekday")


def _summed(months: pl.DataFrame, scope: str, item: pl.Expr, cycle: str = "month") -> pl.DataFrame:
    named = months.select(
        pl.lit(scope).alias("scope"),
        item.alias("item"),
        pl.lit(cycle).alias("cycle"),
        pl.col("year").cast(pl.Int32),
        pl.col("position").cast(pl.Int16),
        "net_revenue",
        "unit_count",
    )
    return named.group_by(*GROUP, "year", "position").agg(pl.col("net_revenue", "unit_count").sum())


def _lasting(months: pl.DataFrame, years: Days) -> pl.DataFrame:
    """The products with the most revenue in the newest year, of those sold from the start."""
    limit = pl.lit(years.start).dt.offset_by(f"{FIRST_MONTHS}mo")
    products = months.group_by("stock_code").agg(
        pl.col("first_date").min(), newest=pl.col("net_revenue").filter(pl.col("year") == 0).sum()
    )
    lasting = products.filter(pl.col("first_date") < limit)
    return lasting.sort("newest", "stock_code", descending=[True, False]).head(TOP_PRODUCTS)


def _gridded(sums: pl.DataFrame, years: int) -> pl.DataFrame:
    """Every position of every year, 0 where nothing was sold; without items that brought nothing in one of them."""
    totals = sums.group_by(*GROUP, "year").agg(pl.col("net_revenue", "unit_count").sum())
    positive = totals.filter((pl.col("net_revenue") > 0) & (pl.col("unit_count") > 0))
    items = positive.group_by(GROUP).len("years").filter(pl.col("years") == years).select(GROUP)
    cells = pl.concat([_positions("month", 12, range(years)), _positions("weekday", 7, range(years))])
    grid = items.join(cells, on="cycle").join(sums, on=[*GROUP, "year", "position"], how="left")
    return grid.with_columns(pl.col("net_revenue", "unit_count").fill_null(0))


def _positions(cycle: str, size: int, years: Sequence[int]) -> pl.DataFrame:
    positions = pl.DataFrame({"position": range(1, size + 1)}, schema={"position": pl.Int16})
    each = pl.DataFrame({"year": years}, schema={"year": pl.Int32})
    return positions.join(each, how="cross").with_columns(cycle=pl.lit(cycle))


def _indexed(grid: pl.DataFrame) -> pl.DataFrame:
    year = [*GROUP, "year"]
    revenue, units = pl.col("net_revenue").cast(pl.Float64), pl.col("unit_count")
    ratios = grid.with_columns(
        revenue_index=100 * revenue / revenue.mean().over(year), unit_index=100 * units / units.mean().over(year)
    )
    return ratios.group_by(*GROUP, "position").agg(
        pl.col("net_revenue", "unit_count").sum(),
        pl.col("revenue_index", "unit_index").mean().round(6),
        lowest_index=pl.col("revenue_index").min().round(6),
        highest_index=pl.col("revenue_index").max().round(6),
    )


def _lies_between() -> pl.Expr:
    return pl.col("revenue_index").is_between(pl.col("lowest_index") - 1e-5, pl.col("highest_index") + 1e-5)

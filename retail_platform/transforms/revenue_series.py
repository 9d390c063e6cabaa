"""Sums of the facts over time, as forecasts and anomalies read them: by country group, product, country and category.

Which days are read is the caller's choice; what is done with the sums is in `forecasts.py` and `anomalies.py`.
"""

from datetime import date, timedelta

import polars as pl

from retail_platform.contracts.forecasts import ALL_COUNTRIES, COUNTRY_GROUPS

TOP_PRODUCTS = 50
TOP_WEEKS, FEWEST_WEEKS = 26, 13
"""Newest weeks by whose revenue products are ranked, and weeks with a sale that a product must have among them."""


def country_group() -> pl.Expr:
    """The group of a country of `dim_country`: unknown members are of the rest of the world."""
    britain, europe, rest = (pl.lit(name) for name in COUNTRY_GROUPS)
    is_british = pl.col("country_code").eq_missing(pl.lit("GB"))
    return pl.when(is_british).then(britain).when(pl.col("is_eu_member").fill_null(False)).then(europe).otherwise(rest)


def revenue_by_group(facts: pl.LazyFrame, countries: pl.LazyFrame) -> pl.DataFrame:
    """Net revenue by country group and day, and of all countries.

    Args:
        facts: `fact_sale` of the days asked for.
        countries: `dim_country`.

    Returns:
        series (the group), sale_date, amount (exact); by series and day.
    """
    groups = countries.select("country_key", series=country_group())
    by_group = _summed_by(groups, "series", facts)
    total = _summed(facts, "sale_date").with_columns(series=pl.lit(ALL_COUNTRIES))
    return pl.concat([by_group, total.select("series", "sale_date", "amount")]).sort("series", "sale_date")


def demand_by_product(facts: pl.LazyFrame, products: pl.LazyFrame, as_of: date) -> pl.DataFrame:
    """Units of the top products by day: sold, returns not deducted.

    Args:
        facts: `fact_sale` up to as_of.
        products: `dim_product`.
        as_of: Sunday of the newest closed week.

    Returns:
        series (stock_code), sale_date, amount (units); by product and day. The `TOP_PRODUCTS` with the highest net
        revenue of the newest `TOP_WEEKS`, among those sold in `FEWEST_WEEKS` of them or more.
    """
    keys = products.select("product_key", series="stock_code")
    lines = facts.filter(pl.col("line_type") == "product")
    units = pl.when(~pl.col("is_cancelled")).then(pl.col("quantity").cast(pl.Int64)).alias("amount")
    sold = lines.select("product_key", "sale_date", units, revenue="total_amount")
    by_key = sold.group_by("product_key", "sale_date").agg(pl.col("amount", "revenue").sum()).join(keys, "product_key")
    daily = by_key.group_by("series", "sale_date").agg(pl.col("amount", "revenue").sum()).collect(engine="streaming")
    recent = daily.filter(pl.col("sale_date") > as_of - timedelta(weeks=TOP_WEEKS), pl.col("amount") > 0)
    ranked = recent.group_by("series").agg(
        pl.col("revenue").sum(), weeks=pl.col("sale_date").dt.truncate("1w").n_unique()
    )
    often = ranked.filter(pl.col("weeks") >= FEWEST_WEEKS)
    top = often.sort(["revenue", "series"], descending=[True, False]).head(TOP_PRODUCTS)
    return daily.join(top, on="series", how="semi").select("series", "sale_date", "amount").sort("series", "sale_date")


def revenue_by_member(facts: pl.LazyFrame, countries: pl.LazyFrame, products: pl.LazyFrame) -> pl.DataFrame:
    """Net revenue by day in total, by country, and of product lines by category.

    Args:
        facts: `fact_sale` of the days asked for.
        countries: `dim_country`.
        products: `dim_product`.

    Returns:
        dimension, member, sale_date, net_revenue (exact); by all three.
    """
    names = countries.select("country_key", member="country_name")
    categories = products.select("product_key", member="category").drop_nulls()
    product_lines = facts.filter(pl.col("line_type") == "product")
    parts = {
        "total": _summed(facts, "sale_date").with_columns(member=pl.lit("All")),
        "country": _summed_by(names, "member", facts),
        "category": _summed_by(categories, "member", product_lines),
    }
    columns = ("member", "sale_date", pl.col("amount").alias("net_revenue"))
    frames = [sums.select(pl.lit(dimension).alias("dimension"), *columns) for dimension, sums in parts.items()]
    return pl.concat(frames).sort("dimension", "member", "sale_date")


def _summed_by(named: pl.LazyFrame, name: str, lines: pl.LazyFrame) -> pl.DataFrame:
    """Sums by name and day. First by key, which leaves little to join: a join of all lines holds them in memory."""
    key = next(column for column in named.collect_schema() if column != name)
    by_key = _summed(lines, key, "sale_date").rename({"amount": "total_amount"})
    return _summed(by_key.lazy().join(named, on=key), name, "sale_date")


def _summed(lines: pl.LazyFrame, *keys: str) -> pl.DataFrame:
    """Sums by some columns; one after the other, as a plan with all of them would hold the lines that they share."""
    sums = lines.group_by(*keys).agg(amount=pl.col("total_amount").sum().cast(pl.Decimal(18, 4)))
    return sums.collect(engine="streaming")

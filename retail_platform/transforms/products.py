"""Product month summaries and, from them, the versions of `dim_product`.

Written on Narwhals. Which codes are products stays out (the mapping's `line_type`), and so do
how a description is classified (`categories.py`) and cost, which the source does not give.
"""

from datetime import date
from typing import Any

import narwhals as nw

from retail_platform.contracts import DIM_PRODUCT, PRODUCT_MONTHS
from retail_platform.transforms.categories import UNCLASSIFIED
from retail_platform.transforms.decimals import whole_units
from retail_platform.transforms.keys import surrogate_keys
from retail_platform.transforms.versions import (
    carry_forward,
    has_changed,
    months_later,
    with_intervals,
    with_missing,
    with_previous,
)

PRODUCT_MONTH = ("sale_month", "stock_code")


def product_months(lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Sum up the silver lines of whole months by product code.

    Args:
        lines: silver lines (contract `SilverSales`), all of them for every month they touch.

    Returns:
        One row per (sale_month, stock_code), contract `ProductMonths`, in no order.
    """
    months = lines.group_by(*PRODUCT_MONTH).agg(
        nw.col("line_type").min(),
        nw.col("sale_date").min().alias("first_date"),
    )
    first_day = lines.join(
        months.select(*PRODUCT_MONTH, nw.col("first_date").alias("sale_date")),
        on=[*PRODUCT_MONTH, "sale_date"],
        how="inner",
    )
    pieces = (
        most_frequent_description(lines, "description"),
        lower_median_price(lines, "median_price"),
        most_frequent_description(first_day, "first_description"),
        lower_median_price(first_day, "first_price"),
    )
    for piece in pieces:
        months = months.join(piece, on=list(PRODUCT_MONTH), how="left")
    return months.select(*PRODUCT_MONTHS.schema)


def most_frequent_description(lines: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    """The description that most lines of a product's month carry; of equally frequent ones the first by text.

    Args:
        lines: silver lines.
        name: the name of the result.

    Returns:
        One row per (sale_month, stock_code) that has a description.
    """
    described = lines.filter(~nw.col("description").is_null())
    counted = described.group_by(*PRODUCT_MONTH, "description").agg(nw.len().alias("lines"))
    most = counted.filter(nw.col("lines") == nw.col("lines").max().over(*PRODUCT_MONTH))
    return most.group_by(*PRODUCT_MONTH).agg(nw.col("description").min().alias(name))


def lower_median_price(lines: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    """The lower median unit price of a product's uncancelled lines in a month.

    Args:
        lines: silver lines.
        name: the name of the result, in the shop's currency.

    Returns:
        One row per (sale_month, stock_code) that has an uncancelled line: the smallest price that at least half of
        the lines do not exceed, which for an even number is the lower of the two in the middle.
    """
    priced = lines.filter(~nw.col("is_cancelled")).group_by(*PRODUCT_MONTH, "unit_price").agg(nw.len().alias("lines"))
    ranked = priced.with_columns(
        up_to=nw.col("lines").cast(nw.Int64).cum_sum().over(*PRODUCT_MONTH, order_by="unit_price"),
        of=nw.col("lines").cast(nw.Int64).sum().over(*PRODUCT_MONTH),
    )
    upper_half = ranked.filter(nw.col("up_to") * 2 >= nw.col("of"))
    return upper_half.group_by(*PRODUCT_MONTH).agg(nw.col("unit_price").min().alias(name))


def product_versions(months: nw.LazyFrame[Any], open_month: date) -> nw.LazyFrame[Any]:
    """The versions of every product code, judged at the close of each month.

    A version starts on the code's first day, judged on that day alone, and on the 1st after a month whose description
    differs from the one judged last, or whose median price is more than 10 % away from the one before it.

    Args:
        months: product months (contract `ProductMonths`), all of them.
        open_month: first day of the month of the newest silver line of any product; earlier months are closed.

    Returns:
        One row per (stock_code, valid_from): stock_code, description, recommended_price, valid_from, valid_to,
        is_current, version; in no order.
    """
    judged = nw.concat([_first_days(months), _closes(months, open_month)], how="vertical")
    known = carry_forward(judged, ["description", "price"], "stock_code")
    compared = with_previous(known, ["description", "price"], "stock_code")
    price, previous = (whole_units(nw.col(name), 4).cast(nw.Int64) for name in ("price", "previous_price"))
    # More than 10 %: of whole numbers, that is above the tenth rounded down.
    is_far = ~price.is_null() & (previous.is_null() | ((price - previous).abs() > previous // 10).fill_null(False))
    marked = compared.with_columns(is_repriced=nw.col("is_first") | is_far)
    # A price that moved less than the rule asks stays unpublished, but is what the next month is compared with.
    in_force = carry_forward(
        marked.with_columns(recommended_price=nw.when(nw.col("is_repriced")).then(nw.col("price"))),
        ["recommended_price"],
        "stock_code",
    )
    starts = in_force.filter(nw.col("is_repriced") | has_changed("description"))
    return with_intervals(starts.select("stock_code", "description", "recommended_price", "valid_from"), "stock_code")


def product_dimension(
    versions: nw.LazyFrame[Any], months: nw.LazyFrame[Any], categories: nw.LazyFrame[Any]
) -> nw.LazyFrame[Any]:
    """Finish `dim_product`: surrogate keys, what a product's description tells, and null for what nothing says.

    Args:
        versions: the rows of `product_versions`.
        months: the product months (contract `ProductMonths`) they were made from: which codes are products.
        categories: what is known of each description (contract `ProductCategory`), on the same engine.

    Returns:
        Contract `DimProduct`, in no order.
    """
    keyed = surrogate_keys(_classified(versions, months, categories), ("stock_code", "valid_from"), "product_key")
    return with_missing(keyed, DIM_PRODUCT.schema)


def _classified(
    versions: nw.LazyFrame[Any], months: nw.LazyFrame[Any], categories: nw.LazyFrame[Any]
) -> nw.LazyFrame[Any]:
    """The versions with category, subcategory, brand and product_family; all null for a code that is no product."""
    products = months.filter(nw.col("line_type") == "product").select("stock_code").unique()
    names = categories.select("description", "category", "subcategory", "brand", "product_family")
    marked = versions.join(products.with_columns(is_product=nw.lit(True)), on="stock_code", how="left")
    told = {name: nw.col(name).fill_null(UNCLASSIFIED) for name in ("category", "subcategory")}
    told |= {name: nw.col(name) for name in ("brand", "product_family")}
    return marked.join(names, on="description", how="left").with_columns(
        nw.when(nw.col("is_product").fill_null(False)).then(name).alias(column) for column, name in told.items()
    )


def _first_days(months: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """What is judged of each code on its first silver day; only products have a price."""
    first = months.filter(nw.col("sale_month") == nw.col("sale_month").min().over("stock_code"))
    return first.select(
        "stock_code",
        nw.col("first_description").alias("description"),
        nw.col("first_date").alias("valid_from"),
        nw.when(nw.col("line_type") == "product").then(nw.col("first_price")).alias("price"),
        nw.lit(True).alias("is_first"),
    )


def _closes(months: nw.LazyFrame[Any], open_month: date) -> nw.LazyFrame[Any]:
    """What is judged of each product at the close of each closed month with lines of it."""
    closed = months.filter((nw.col("sale_month") < open_month) & (nw.col("line_type") == "product"))
    return closed.select(
        "stock_code",
        "description",
        months_later("sale_month", 1).alias("valid_from"),
        nw.col("median_price").alias("price"),
        nw.lit(False).alias("is_first"),
    )

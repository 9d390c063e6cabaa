"""Features of customers and products as of a day: the rows that they sum up, and the sum.

What each feature is stays out (`contracts/customer_features.py` and `product_features.py`). Every row here is of a line
up to the day; its `age` is the days from the sale to the day.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import NamedTuple

import polars as pl

from retail_platform.contracts import CUSTOMER_FEATURE, PRODUCT_FEATURE, Table
from retail_platform.contracts.customer_features import CUSTOMER_FEATURES
from retail_platform.contracts.features import FEATURES, Feature
from retail_platform.contracts.product_features import PRODUCT_FEATURES
from retail_platform.transforms.categories import UNCLASSIFIED

COLUMNS = (
    "sale_date",
    "invoiced_at",
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "unit_price",
    "line_amount",
    "customer_id",
    "country",
    "line_type",
    "is_cancelled",
)
"""Of silver lines, what features are made from."""
CODES = ("stock_code", "invoice_no", "customer_id", "country", "line_type")
"""Of those, the texts that rows are grouped by: as numbers in a third of the time."""
IS_PURCHASE = (pl.col("line_type") == "product") & ~pl.col("is_cancelled") & (pl.col("quantity") > 0)
DECIMALS = 6
"""Of a share, ratio or mean."""
DAY_BITS = 2**20
"""More than there are days: an order's number is that of its invoice, then its day."""


Cut = Callable[[pl.LazyFrame, str], AbstractContextManager[list[pl.LazyFrame]]]
"""Cuts rows into parts that fit memory, all rows with one value of a column in one part."""


def uncut(rows: pl.LazyFrame, by: str) -> AbstractContextManager[list[pl.LazyFrame]]:
    """All rows in one part."""
    return nullcontext([rows])


class Shop(NamedTuple):
    """What features of one member need to know of the lines of all.

    Attributes:
        prices: stock_code and median_price, that of its purchases.
        names: stock_code, its description and what is said of that.
        baskets: invoice_no, sale_date, basket_lines and basket_value, of the purchases of each order.
    """

    prices: pl.DataFrame
    names: pl.DataFrame
    baskets: pl.DataFrame


def customer_features(lines: pl.LazyFrame, categories: pl.DataFrame, as_of: date, cut: Cut = uncut) -> pl.DataFrame:
    """Make the features of every customer with an order up to a day.

    Args:
        lines: silver lines of all days; those after `as_of` are not looked at.
        categories: what is said of descriptions (contract `ProductCategory`).
        as_of: the day.
        cut: for more lines than fit memory.

    Returns:
        Rows of contract `CustomerFeature`, ordered by customer_id.
    """
    known = _known(lines, as_of)
    shop = _shop(known, categories)
    with cut(known.filter(pl.col("customer_id").is_not_null()), "customer_id") as parts:
        sums = [_sums(CUSTOMER_FEATURES, _customer_bases(_coded(part, as_of), shop), "customer_id") for part in parts]
    return _table(CUSTOMER_FEATURE, CUSTOMER_FEATURES, sums, as_of)


def product_features(lines: pl.LazyFrame, categories: pl.DataFrame, as_of: date, cut: Cut = uncut) -> pl.DataFrame:
    """Make the features of every product that was sold up to a day.

    Args:
        lines, categories, as_of, cut: as `customer_features` takes them.

    Returns:
        Rows of contract `ProductFeature`, ordered by stock_code.
    """
    known = _known(lines, as_of)
    shop = _shop(known, categories)
    with cut(known, "stock_code") as parts:
        sums = [_sums(PRODUCT_FEATURES, _product_bases(_coded(part, as_of), shop), "stock_code") for part in parts]
    return _table(PRODUCT_FEATURE, PRODUCT_FEATURES, sums, as_of)


MAKERS: Mapping[Table, Callable[..., pl.DataFrame]] = {
    CUSTOMER_FEATURE: customer_features,
    PRODUCT_FEATURE: product_features,
}
"""Table -> what makes its rows, of what `customer_features` takes."""


def _known(lines: pl.LazyFrame, as_of: date) -> pl.LazyFrame:
    """The lines up to the day."""
    return lines.filter(pl.col("sale_date") <= as_of).select(COLUMNS)


def _shop(known: pl.LazyFrame, categories: pl.DataFrame) -> Shop:
    purchases = known.filter(IS_PURCHASE)
    prices = purchases.group_by("stock_code", "unit_price").len("lines")
    month = pl.col("sale_date").dt.month_start()
    descriptions = known.group_by("stock_code", "description", month=month).len("lines")
    baskets = purchases.group_by("invoice_no", "sale_date").agg(
        basket_lines=pl.len(), basket_value=pl.col("line_amount").sum()
    )
    # One after the other: collected together they keep the rows they share, 7 GB of a hundred million lines.
    counted = [each.collect(engine="streaming") for each in (prices, descriptions, baskets)]
    return Shop(_medians(counted[0]), _names(counted[1], categories), counted[2])


def _medians(prices: pl.DataFrame) -> pl.DataFrame:
    """The lower median price of each product's purchases, of counts by price."""
    reached = pl.col("lines").cum_sum().over("stock_code", order_by="unit_price") * 2
    upper = prices.filter(reached >= pl.col("lines").sum().over("stock_code"))
    return upper.group_by("stock_code").agg(median_price=pl.col("unit_price").min().cast(pl.Float64))


def _coded(part: pl.LazyFrame, as_of: date) -> pl.DataFrame:
    """The lines of a part, in no order, with what is computed of each."""
    coded = part.with_columns(pl.col(CODES).cast(pl.Categorical))
    order = pl.col("invoice_no").to_physical().cast(pl.Int64) * DAY_BITS + pl.col("sale_date").to_physical()
    age = (pl.lit(as_of) - pl.col("sale_date")).dt.total_days()
    units = pl.col("quantity").cast(pl.Int64)
    return coded.with_columns(units, order=order, age=age.cast(pl.Int32), amount=pl.col("line_amount")).collect()


def _purchases(known: pl.DataFrame, shop: Shop) -> pl.DataFrame:
    """Uncancelled product lines, with their price against the median price of the product so far."""
    purchases = known.filter(IS_PURCHASE).with_columns(price=pl.col("unit_price").cast(pl.Float64))
    medians = shop.prices.with_columns(pl.col("stock_code").cast(pl.Categorical))
    level = pl.col("price") / pl.col("median_price")
    return purchases.join(medians, on="stock_code", how="left").with_columns(level=level)


def _returns(known: pl.DataFrame) -> pl.DataFrame:
    returned = known.filter((pl.col("line_type") == "product") & (pl.col("quantity") < 0))
    return returned.with_columns(amount=-pl.col("amount"), units=-pl.col("quantity"))


def _newest(lines: pl.DataFrame, key: str) -> pl.DataFrame:
    """The lines of each member's last day, in the order of time, then invoice and price."""
    newest = lines.filter(pl.col("age") == pl.col("age").min().over(key))
    texts = newest.with_columns(pl.col("invoice_no", "country").cast(pl.String))
    return texts.sort("invoiced_at", "invoice_no", "unit_price", "country")


def _names(counted: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Each product code's description of its last month that names one, and what is said of that.

    Args:
        counted: lines by stock_code, description and month.
        categories: what is said of descriptions.
    """
    described = counted.drop_nulls()
    newest = described.filter(pl.col("month") == pl.col("month").max().over("stock_code"))
    ordered = newest.sort("lines", "description", descending=[True, False])
    commonest = ordered.group_by("stock_code", maintain_order=True).agg(pl.col("description").first())
    codes = counted.select(pl.col("stock_code").unique()).join(commonest, on="stock_code", how="left")
    said = codes.join(categories, on="description", how="left")
    return said.with_columns(
        pl.col("stock_code").cast(pl.Categorical), pl.col("category", "subcategory").fill_null(UNCLASSIFIED)
    )


def _customer_bases(lines: pl.DataFrame, shop: Shop) -> dict[str, pl.DataFrame]:
    purchases = _purchases(lines, shop)
    orders = _orders(purchases)
    products = _by_age(purchases, "customer_id", "stock_code")
    return {
        "order": orders,
        "day": _order_days(orders),
        "product": products,
        "category": _category_shares(products, shop.names),
        "purchase": purchases,
        "return": _returns(lines),
        "line": lines,
        "last line": _newest(lines.filter(pl.col("country").is_not_null()), "customer_id"),
    }


def _orders(purchases: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and order, in the order of time: so that a sum of floats is always the same."""
    orders = purchases.group_by("customer_id", "order").agg(
        pl.col("age", "sale_date", "invoice_no").first(),
        pl.col("invoiced_at").min(),
        pl.col("amount").sum(),
        units=pl.col("quantity").sum(),
        lines=pl.len(),
        products=pl.col("stock_code").n_unique(),
    )
    return orders.sort("invoiced_at", pl.col("invoice_no").cast(pl.String)).with_columns(
        value=pl.col("amount").cast(pl.Float64),
        month=pl.col("sale_date").dt.month_start(),
        quarter=pl.col("sale_date").dt.quarter(),
        weekday=pl.col("sale_date").dt.weekday(),
        hour=pl.col("invoiced_at").dt.hour() + pl.col("invoiced_at").dt.minute() / 60,
    )


def _order_days(orders: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and day with an order, with the days since the one before."""
    days = orders.select("customer_id", "age").unique().sort("age", descending=True)
    return days.with_columns(gap=pl.col("age").shift().over("customer_id") - pl.col("age"))


def _by_age(purchases: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Amounts, and the ages of the last and the first purchase."""
    return purchases.group_by(by).agg(pl.col("amount").sum(), pl.col("age").min(), first_age=pl.col("age").max())


def _category_shares(products: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and category, the greatest first."""
    named = products.join(names.select("stock_code", "category"), on="stock_code", how="left")
    sums = named.group_by("customer_id", "category").agg(pl.col("amount").sum(), pl.col("age").min())
    share = pl.col("amount").cast(pl.Float64) / pl.col("amount").sum().over("customer_id").cast(pl.Float64)
    return sums.sort("amount", "category", descending=[True, False]).with_columns(share=share)


def _product_bases(known: pl.DataFrame, shop: Shop) -> dict[str, pl.DataFrame]:
    purchases = _purchases(known, shop)
    return {
        "name": shop.names,
        "purchase": purchases,
        "order": _with_baskets(purchases, shop.baskets),
        "day": purchases.select("stock_code", "age").unique(),
        "customer": _by_age(purchases.filter(pl.col("customer_id").is_not_null()), "stock_code", "customer_id"),
        "month": purchases.group_by("stock_code", month=pl.col("sale_date").dt.month()).agg(
            units=pl.col("quantity").sum()
        ),
        "last line": _newest(purchases, "stock_code"),
        "return": _returns(known),
    }


def _with_baskets(purchases: pl.DataFrame, baskets: pl.DataFrame) -> pl.DataFrame:
    """One row per product and order, with what the whole order holds."""
    coded = baskets.with_columns(pl.col("invoice_no").cast(pl.Categorical))
    order = ("invoice_no", "sale_date")
    held = purchases.select("stock_code", "order", *order, "age", "country", is_guest=pl.col("customer_id").is_null())
    return held.unique(["stock_code", "order"]).join(coded, on=order, how="left")


MEMBERS = {"customer_id": "order", "stock_code": "purchase"}
"""Key -> the basis that names the members: those with an order, those that were sold."""


def _sums(features: Sequence[Feature], bases: Mapping[str, pl.DataFrame], key: str) -> pl.DataFrame:
    """Sum every basis up by member."""
    frame = bases[MEMBERS[key]].select(pl.col(key).unique())
    for basis, rows in bases.items():
        summed = [feature for feature in features if feature.basis == basis]
        sums = rows.group_by(key).agg(**{feature.name: feature.expression for feature in summed})
        frame = frame.join(sums, on=key, how="left", maintain_order="left").with_columns(
            pl.col([feature.name for feature in summed if feature.is_zero_without_rows]).fill_null(0)
        )
    return frame


def _table(table: Table, features: Sequence[Feature], sums: Sequence[pl.DataFrame], as_of: date) -> pl.DataFrame:
    """Compute what is made of the sums of all members."""
    (key,) = table.key
    frame = pl.concat(sums).with_columns(as_of_date=pl.lit(as_of))
    for feature in features:
        if feature.basis == FEATURES:
            frame = frame.with_columns(feature.expression.alias(feature.name))
    return frame.select(_cast(name, dtype) for name, dtype in table.schema.items()).sort(key)


def _cast(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column in its type; floats are rounded, so that the order of their sum does not show."""
    return pl.col(name).round(DECIMALS) if dtype == pl.Float64 else pl.col(name).cast(dtype)

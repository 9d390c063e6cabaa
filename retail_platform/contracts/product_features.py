"""The features of a product, and their table; terms as in `customer_features.py`, guests' purchases included."""

import polars as pl

from retail_platform.contracts.base import Table
from retail_platform.contracts.features import Feature, derived, feature_contract, ratio, windowed

WINDOWS = ("30d", "90d", "365d", "all")
SEASON_YEAR_AND_ALL = ("90d", "365d", "all")
ALL_DAYS = "all days so far"
FOURTH_QUARTER = 4

AMOUNT, AGE, UNITS = pl.col("amount"), pl.col("age"), pl.col("quantity")


def _overall(name: str, basis: str, unit: str, formula: str, description: str, expression: pl.Expr) -> Feature:
    return Feature(name, basis, ALL_DAYS, unit, formula, description, expression)


SALES = [
    *windowed(
        "unit_count",
        WINDOWS,
        "purchase",
        "count",
        "sum(quantity)",
        "Units sold.",
        lambda rows: UNITS.filter(rows).sum(),
    ),
    *windowed(
        "sales_amount",
        WINDOWS,
        "purchase",
        "money",
        "sum(amount)",
        "Amount sold.",
        lambda rows: AMOUNT.filter(rows).sum(),
    ),
    *windowed(
        "order_count",
        WINDOWS,
        "order",
        "count",
        "count(orders with the product)",
        "Orders that have it.",
        lambda rows: rows.sum(),
    ),
    *windowed(
        "active_day_count",
        SEASON_YEAR_AND_ALL,
        "day",
        "count",
        "count(days with a sale)",
        "Days it was sold on.",
        lambda rows: rows.sum(),
    ),
    Feature(
        "previous_unit_count_90d",
        "purchase",
        "the 90 days before the last 90",
        "count",
        "sum(quantity)",
        "Units sold before the last 90 days.",
        UNITS.filter(AGE.is_between(90, 179)).sum(),
        True,
    ),
    Feature(
        "previous_sales_amount_90d",
        "purchase",
        "the 90 days before the last 90",
        "money",
        "sum(amount)",
        "Amount sold before the last 90 days.",
        AMOUNT.filter(AGE.is_between(90, 179)).sum(),
        True,
    ),
    _overall("days_since_first_sale", "purchase", "days", "max(age)", "How long it has been sold.", AGE.max()),
    _overall("days_since_last_sale", "purchase", "days", "min(age)", "How long it has not been sold.", AGE.min()),
    _overall("max_line_units", "purchase", "count", "max(quantity)", "Largest line.", UNITS.max()),
    _overall(
        "median_line_units",
        "purchase",
        "mean count",
        "median(quantity of a line)",
        "Units of the line in the middle.",
        UNITS.median(),
    ),
]
"""How much of it is sold, and when."""

BUYERS = [
    *windowed(
        "customer_count",
        SEASON_YEAR_AND_ALL,
        "customer",
        "count",
        "count(distinct customers)",
        "Customers who bought it, guests aside.",
        lambda rows: rows.sum(),
    ),
    Feature(
        "repeat_customer_count_all",
        "customer",
        ALL_DAYS,
        "count",
        "count(customers who bought it on several days)",
        "Customers who came back for it.",
        (pl.col("first_age") > AGE).sum(),
        True,
    ),
    Feature(
        "top_customer_amount_all",
        "customer",
        ALL_DAYS,
        "money",
        "max(amount of a customer)",
        "Amount of the customer who bought most, guests aside.",
        AMOUNT.max(),
        True,
    ),
    _overall(
        "guest_order_share_all",
        "order",
        "share",
        "count(orders of guests) / count(orders)",
        "Orders of guests.",
        pl.col("is_guest").cast(pl.Float64).mean(),
    ),
    _overall(
        "country_count_all",
        "order",
        "count",
        "count(distinct countries)",
        "Countries it was sold to.",
        pl.col("country").drop_nulls().n_unique(),
    ),
]
"""Who buys it."""

BASKETS = [
    _overall(
        "mean_basket_lines_all",
        "order",
        "mean count",
        "mean(lines of an order that has it)",
        "How many lines come with it.",
        pl.col("basket_lines").mean(),
    ),
    _overall(
        "mean_basket_value_all",
        "order",
        "money",
        "mean(amount of an order that has it)",
        "What an order that has it is worth.",
        pl.col("basket_value").sum().cast(pl.Float64) / pl.len(),
    ),
    _overall(
        "alone_order_share_all",
        "order",
        "share",
        "count(orders of one line) / count(orders with the product)",
        "Orders that have nothing else.",
        (pl.col("basket_lines") == 1).cast(pl.Float64).mean(),
    ),
]
"""What is bought with it."""

PRICES = [
    _overall(
        "median_unit_price_all",
        "purchase",
        "money",
        "lower median(unit price of a line)",
        "Its usual price.",
        pl.col("median_price").first(),
    ),
    _overall("min_unit_price_all", "purchase", "money", "min(unit price)", "Lowest price.", pl.col("unit_price").min()),
    _overall(
        "max_unit_price_all", "purchase", "money", "max(unit price)", "Highest price.", pl.col("unit_price").max()
    ),
    _overall(
        "last_unit_price",
        "last line",
        "money",
        "unit price of the last line",
        "Newest price; of equal times the higher invoice, then the higher price.",
        pl.col("unit_price").last(),
    ),
    _overall(
        "unit_price_sd_all",
        "purchase",
        "money",
        "sample standard deviation(unit price of a line)",
        "How much its price differs; null below two lines.",
        pl.col("price").sort().std(),
    ),
    _overall(
        "discounted_line_share_all",
        "purchase",
        "share",
        "count(lines below 0.95 x median_unit_price_all) / count(lines)",
        "Lines sold for less than usual.",
        (pl.col("level") < 0.95).cast(pl.Float64).mean(),
    ),
]
"""What it costs."""

SEASONS = [
    _overall(
        "q4_unit_share_all",
        "purchase",
        "share",
        "sum(units of October to December) / sum(units)",
        "Units sold before Christmas.",
        UNITS.filter(pl.col("sale_date").dt.quarter() == FOURTH_QUARTER).sum() / UNITS.sum(),
    ),
    _overall(
        "peak_month_all",
        "month",
        "month",
        "calendar month with max(units), ties by the earlier",
        "Month it sells best in, 1 being January.",
        pl.col("month").sort_by("units", "month", descending=[True, False]).first(),
    ),
    _overall(
        "peak_month_share_all",
        "month",
        "share",
        "max(units of a calendar month) / sum(units)",
        "Share of the month it sells best in.",
        pl.col("units").max() / pl.col("units").sum(),
    ),
]
"""When in the year; of a product sold for less than a year it says when it was sold at all."""

RETURNS = [
    *windowed(
        "return_unit_count",
        ("365d", "all"),
        "return",
        "count",
        "sum(units returned)",
        "Units returned.",
        lambda rows: pl.col("units").filter(rows).sum(),
    ),
    *windowed(
        "return_amount",
        ("365d", "all"),
        "return",
        "money",
        "sum(amount returned)",
        "Amount returned, above 0.",
        lambda rows: AMOUNT.filter(rows).sum(),
    ),
]
"""What comes back."""

NAMES = [
    _overall(
        "description",
        "name",
        "text",
        "commonest of the last month that names one, ties by text",
        "What it is called.",
        pl.col("description").first(),
    ),
    _overall(
        "category",
        "name",
        "text",
        "category of the description",
        "Category, or unclassified.",
        pl.col("category").first(),
    ),
    _overall(
        "subcategory",
        "name",
        "text",
        "subcategory of the description",
        "Subcategory, or unclassified.",
        pl.col("subcategory").first(),
    ),
    _overall(
        "brand",
        "name",
        "text",
        "brand in the description",
        "Brand; null where the description names none.",
        pl.col("brand").first(),
    ),
    _overall(
        "product_family",
        "name",
        "text",
        "design or range in the description",
        "Family; null where the description names none.",
        pl.col("product_family").first(),
    ),
]
"""What is said today of its description of then."""

DERIVED = [
    derived(
        "mean_order_units_all",
        ALL_DAYS,
        "ratio",
        "unit_count_all / order_count_all",
        "Units of it in an order that has it.",
        ratio("unit_count_all", "order_count_all"),
    ),
    *(
        derived(
            f"mean_unit_price_{window}",
            "last 90 days" if window == "90d" else ALL_DAYS,
            "money",
            f"sales_amount_{window} / unit_count_{window}",
            "What a unit cost on average.",
            ratio(f"sales_amount_{window}", f"unit_count_{window}"),
        )
        for window in ("90d", "all")
    ),
    derived(
        "previous_mean_unit_price_90d",
        "the 90 days before the last 90",
        "money",
        "previous_sales_amount_90d / previous_unit_count_90d",
        "What a unit cost before the last 90 days.",
        ratio("previous_sales_amount_90d", "previous_unit_count_90d"),
    ),
    derived(
        "price_trend_90d",
        "last 90 days and the 90 before",
        "ratio",
        "mean_unit_price_90d / previous_mean_unit_price_90d",
        "Price now against before; null without a sale in either.",
        ratio("mean_unit_price_90d", "previous_mean_unit_price_90d"),
    ),
    derived(
        "unit_price_cv_all",
        ALL_DAYS,
        "ratio",
        "unit_price_sd_all / median_unit_price_all",
        "How much its price differs, against the usual one.",
        ratio("unit_price_sd_all", "median_unit_price_all"),
    ),
    derived(
        "unit_trend_90d",
        "last 90 days and the 90 before",
        "ratio",
        "unit_count_90d / previous_unit_count_90d",
        "Units now against before; null without any before.",
        ratio("unit_count_90d", "previous_unit_count_90d"),
    ),
    derived(
        "sales_trend_90d",
        "last 90 days and the 90 before",
        "ratio",
        "sales_amount_90d / previous_sales_amount_90d",
        "Amount now against before; null without any before.",
        ratio("sales_amount_90d", "previous_sales_amount_90d"),
    ),
    derived(
        "sales_share_365d",
        "last 365 days",
        "share",
        "sales_amount_365d / sum over all products",
        "Share of all product sales.",
        pl.col("sales_amount_365d").cast(pl.Float64)
        / pl.col("sales_amount_365d").sum().cast(pl.Float64).replace(0, None),
    ),
    derived(
        "sales_rank_365d",
        "last 365 days",
        "count",
        "1 + count(products with a greater sales_amount_365d)",
        "Rank by amount.",
        pl.col("sales_amount_365d").rank("min", descending=True),
    ),
    derived(
        "repeat_customer_share_all",
        ALL_DAYS,
        "share",
        "repeat_customer_count_all / customer_count_all",
        "Share of its customers who came back for it.",
        ratio("repeat_customer_count_all", "customer_count_all"),
    ),
    derived(
        "top_customer_share_all",
        ALL_DAYS,
        "share",
        "top_customer_amount_all / sales_amount_all",
        "Share of the customer who bought most.",
        ratio("top_customer_amount_all", "sales_amount_all"),
    ),
    derived(
        "return_unit_ratio_all",
        ALL_DAYS,
        "ratio",
        "return_unit_count_all / unit_count_all",
        "Units returned against sold.",
        ratio("return_unit_count_all", "unit_count_all"),
    ),
    derived(
        "return_amount_ratio_365d",
        "last 365 days",
        "ratio",
        "return_amount_365d / sales_amount_365d",
        "Amount returned against sold; null without a sale.",
        ratio("return_amount_365d", "sales_amount_365d"),
    ),
]
"""Ratios, trends and ranks."""

PRODUCT_FEATURES: tuple[Feature, ...] = (
    *NAMES,
    *SALES,
    *BUYERS,
    *BASKETS,
    *PRICES,
    *SEASONS,
    *RETURNS,
    *DERIVED,
)
"""All of them; a feature of features comes after those it is computed from."""

PAGE = """One row per product that was sold: how it sells, up to the end of one day.

Grain: stock_code.  Source: silver/sales up to the newest closed month; categories of gold/product_category.
Units: amounts in the shop's currency, shares from 0 to 1; terms and formulas in docs/features.md.
Nothing later than as_of_date counts. Where a feature has no basis it is null.
"""

PRODUCT_FEATURE = Table(
    "gold",
    "product_feature",
    feature_contract(
        "ProductFeature",
        PAGE,
        {
            "stock_code": (pl.String(), "Product code."),
            "as_of_date": (pl.Date(), "Last day of the newest closed month; all features are as of its end."),
        },
        PRODUCT_FEATURES,
    ),
    key=("stock_code",),
)

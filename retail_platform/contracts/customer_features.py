"""The features of a customer, and their table.

Terms: a purchase is an uncancelled product line with a quantity above 0, a return a product line with one below 0, an
order an invoice (invoice_no, sale_date) with a purchase. Every row has an `age`: days before the day, 0 on the day
itself. Amounts are of purchases unless the feature says otherwise; returns are not deducted from them.
"""

import polars as pl

from retail_platform.contracts.base import Table
from retail_platform.contracts.features import Feature, derived, feature_contract, ratio, windowed

EVERY = ("30d", "90d", "180d", "365d", "all")
YEAR_AND_ALL = ("365d", "all")
SEASON_YEAR_AND_ALL = ("90d", "365d", "all")
ALL = ("all",)
ALL_DAYS = "all days so far"

CATEGORIES = (
    "Bags & Purses",
    "Bath & Wellbeing",
    "Candles, Lighting & Fragrance",
    "Dining",
    "Garden & Outdoors",
    "Gift Wrap & Cards",
    "Home Decor",
    "Household",
    "Jewellery & Accessories",
    "Kitchen",
    "Party",
    "Seasonal Decorations",
    "Soft Furnishings",
    "Stationery",
    "Storage & Furniture",
    "Toys & Crafts",
    "unclassified",
)
"""The taxonomy's categories (the seed `product_taxonomy`; a test compares), and what has none."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

CHEAP, DEAR = 0.95, 1.05
"""Price over the product's median price, below and above which a purchase is counted as discounted or as dear."""
NOON, FOURTH_QUARTER = 12, 4

AMOUNT, AGE = pl.col("amount"), pl.col("age")


def _previous(days: int) -> pl.Expr:
    return AGE.is_between(days, 2 * days - 1)


def _mean(condition: pl.Expr) -> pl.Expr:
    return condition.cast(pl.Float64).mean()


ORDERS = [
    *windowed("order_count", EVERY, "order", "count", "count(orders)", "Orders.", lambda rows: rows.sum()),
    *windowed(
        "purchase_amount",
        EVERY,
        "order",
        "money",
        "sum(amount)",
        "Amount bought.",
        lambda rows: AMOUNT.filter(rows).sum(),
    ),
    *windowed(
        "unit_count",
        EVERY,
        "order",
        "count",
        "sum(units)",
        "Units bought.",
        lambda rows: pl.col("units").filter(rows).sum(),
    ),
    *windowed(
        "mean_order_value",
        EVERY,
        "order",
        "money",
        "mean(amount of an order)",
        "What an order was worth on average.",
        lambda rows: pl.col("value").filter(rows).mean(),
    ),
    *windowed(
        "median_order_value",
        YEAR_AND_ALL,
        "order",
        "money",
        "median(amount of an order)",
        "What the order in the middle was worth.",
        lambda rows: pl.col("value").filter(rows).median(),
    ),
    *windowed(
        "order_value_sd",
        YEAR_AND_ALL,
        "order",
        "money",
        "sample standard deviation(amount of an order)",
        "How far orders are from their mean; null below two.",
        lambda rows: pl.col("value").filter(rows).std(),
    ),
    *windowed(
        "min_order_value", ALL, "order", "money", "min(amount of an order)", "Smallest order.", lambda _: AMOUNT.min()
    ),
    *windowed(
        "max_order_value", ALL, "order", "money", "max(amount of an order)", "Largest order.", lambda _: AMOUNT.max()
    ),
    *windowed(
        "first_order_value",
        ALL,
        "order",
        "money",
        "amount of the first order",
        "First order.",
        lambda _: AMOUNT.first(),
    ),
    *windowed(
        "last_order_value", ALL, "order", "money", "amount of the last order", "Last order.", lambda _: AMOUNT.last()
    ),
    Feature(
        "days_since_first_order",
        "order",
        ALL_DAYS,
        "days",
        "max(age)",
        "Tenure: days since the first order.",
        AGE.max(),
    ),
    Feature(
        "days_since_last_order", "order", ALL_DAYS, "days", "min(age)", "Recency: days since the last order.", AGE.min()
    ),
    *windowed(
        "active_month_count",
        YEAR_AND_ALL,
        "order",
        "count",
        "count(distinct calendar months with an order)",
        "Calendar months with an order.",
        lambda rows: pl.col("month").filter(rows).n_unique(),
    ),
    Feature(
        "previous_order_count_90d",
        "order",
        "the 90 days before the last 90",
        "count",
        "count(orders)",
        "Orders before the last 90 days.",
        _previous(90).sum(),
        is_zero_without_rows=True,
    ),
    Feature(
        "previous_purchase_amount_90d",
        "order",
        "the 90 days before the last 90",
        "money",
        "sum(amount)",
        "Amount bought before the last 90 days.",
        AMOUNT.filter(_previous(90)).sum(),
        is_zero_without_rows=True,
    ),
    Feature(
        "previous_purchase_amount_365d",
        "order",
        "the 365 days before the last 365",
        "money",
        "sum(amount)",
        "Amount bought in the year before.",
        AMOUNT.filter(_previous(365)).sum(),
        is_zero_without_rows=True,
    ),
]
"""How recently, how often and for how much."""

BASKETS = [
    *windowed(
        "mean_order_lines",
        ALL,
        "order",
        "mean count",
        "mean(lines of an order)",
        "Lines of an order.",
        lambda _: pl.col("lines").mean(),
    ),
    *windowed(
        "mean_order_units",
        YEAR_AND_ALL,
        "order",
        "mean count",
        "mean(units of an order)",
        "Units of an order.",
        lambda rows: pl.col("units").filter(rows).mean(),
    ),
    *windowed(
        "mean_order_products",
        YEAR_AND_ALL,
        "order",
        "mean count",
        "mean(distinct products of an order)",
        "Products of an order.",
        lambda rows: pl.col("products").filter(rows).mean(),
    ),
    *windowed(
        "max_order_products",
        ALL,
        "order",
        "count",
        "max(distinct products of an order)",
        "Products of the widest order.",
        lambda _: pl.col("products").max(),
    ),
    *windowed(
        "order_products_sd",
        ALL,
        "order",
        "mean count",
        "sample standard deviation(distinct products of an order)",
        "How far the width of orders is from its mean; null below two.",
        lambda _: pl.col("products").std(),
    ),
    *windowed(
        "single_product_order_share",
        ALL,
        "order",
        "share",
        "count(orders of one product) / count(orders)",
        "Orders of one product only.",
        lambda _: _mean(pl.col("products") == 1),
    ),
    *windowed(
        "mean_line_units",
        ALL,
        "purchase",
        "mean count",
        "mean(quantity of a line)",
        "Units of a line.",
        lambda _: pl.col("quantity").mean(),
    ),
]
"""How an order is made up."""

HABITS = [
    *windowed(
        "mean_order_hour",
        ALL,
        "order",
        "hour",
        "mean(hour of an order's first line)",
        "Hour of the day, 10.5 being half past ten.",
        lambda _: pl.col("hour").mean(),
    ),
    *windowed(
        "order_hour_sd",
        ALL,
        "order",
        "hour",
        "sample standard deviation(hour of an order's first line)",
        "How far from its usual hour; null below two orders.",
        lambda _: pl.col("hour").std(),
    ),
    *windowed(
        "morning_order_share",
        ALL,
        "order",
        "share",
        "count(orders before noon) / count(orders)",
        "Orders before noon.",
        lambda _: _mean(pl.col("hour") < NOON),
    ),
    *(
        Feature(
            f"{weekday}_order_share_all",
            "order",
            ALL_DAYS,
            "share",
            f"count(orders on a {weekday.capitalize()}) / count(orders)",
            f"Orders on a {weekday.capitalize()}.",
            _mean(pl.col("weekday") == number),
        )
        for number, weekday in enumerate(WEEKDAYS, start=1)
    ),
    *windowed(
        "q4_order_share",
        ALL,
        "order",
        "share",
        "count(orders of October to December) / count(orders)",
        "Orders before Christmas.",
        lambda _: _mean(pl.col("quarter") == FOURTH_QUARTER),
    ),
]
"""When the customer orders."""

GAPS = [
    *windowed(
        "active_day_count",
        SEASON_YEAR_AND_ALL,
        "day",
        "count",
        "count(days with an order)",
        "Days with an order.",
        lambda rows: rows.sum(),
    ),
    *windowed(
        "mean_gap_days",
        ALL,
        "day",
        "mean days",
        "mean(days from one order day to the next)",
        "Usual time between order days.",
        lambda _: pl.col("gap").mean(),
    ),
    *windowed(
        "median_gap_days",
        ALL,
        "day",
        "mean days",
        "median(days from one order day to the next)",
        "Time between order days in the middle.",
        lambda _: pl.col("gap").median(),
    ),
    *windowed(
        "gap_days_sd",
        ALL,
        "day",
        "mean days",
        "sample standard deviation(days from one order day to the next)",
        "How irregular the order days are; null below two gaps.",
        lambda _: pl.col("gap").std(),
    ),
    *windowed(
        "min_gap_days",
        ALL,
        "day",
        "days",
        "min(days from one order day to the next)",
        "Shortest time between order days.",
        lambda _: pl.col("gap").min(),
    ),
    *windowed(
        "max_gap_days",
        ALL,
        "day",
        "days",
        "max(days from one order day to the next)",
        "Longest time between order days.",
        lambda _: pl.col("gap").max(),
    ),
    *windowed(
        "last_gap_days",
        ALL,
        "day",
        "days",
        "days from the last order day but one to the last",
        "Newest time between order days.",
        lambda _: pl.col("gap").last(),
    ),
]
"""How regularly; all but the first are null for a customer with one order day."""

RANGE = [
    *windowed(
        "product_count",
        EVERY,
        "product",
        "count",
        "count(distinct products bought)",
        "Different products.",
        lambda rows: rows.sum(),
    ),
    Feature(
        "new_product_count_90d",
        "product",
        "last 90 days",
        "count",
        "count(products bought for the first time)",
        "Products that the customer had not bought before.",
        (pl.col("first_age") < 90).sum(),
        is_zero_without_rows=True,
    ),
    Feature(
        "repeat_product_count_all",
        "product",
        ALL_DAYS,
        "count",
        "count(products bought on several days)",
        "Products bought again on another day.",
        (pl.col("first_age") > AGE).sum(),
        is_zero_without_rows=True,
    ),
    Feature(
        "top_product_amount_all",
        "product",
        ALL_DAYS,
        "money",
        "max(amount of a product)",
        "Amount of the product bought for most.",
        AMOUNT.max(),
    ),
    *windowed(
        "category_count",
        ALL,
        "category",
        "count",
        "count(distinct categories bought)",
        "Categories, what has none being one.",
        lambda rows: rows.sum(),
    ),
    Feature(
        "category_entropy_all",
        "category",
        ALL_DAYS,
        "nats",
        "-sum(share x ln share) over categories, by amount",
        "How evenly over categories; 0 is one category only.",
        0 - (pl.col("share") * pl.col("share").log()).sum(),
    ),
    Feature(
        "top_category_share_all",
        "category",
        ALL_DAYS,
        "share",
        "max(amount of a category) / sum(amount)",
        "Share of the category bought for most.",
        pl.col("share").max(),
    ),
    Feature(
        "top_category_all",
        "category",
        ALL_DAYS,
        "text",
        "category with max(amount), ties by name",
        "Category bought for most.",
        pl.col("category").first(),
    ),
    *(
        Feature(
            f"{category_name}_share_all",
            "category",
            ALL_DAYS,
            "share",
            f"amount of {category} / sum(amount)",
            f"Share of {category}.",
            pl.col("share").filter(pl.col("category") == category).sum(),
            is_zero_without_rows=True,
        )
        for category, category_name in (
            (c, c.lower().replace(",", "").replace(" &", "").replace(" ", "_")) for c in CATEGORIES
        )
    ),
]
"""What is bought. Categories are those said today of a product's description of then."""

PRICES = [
    *windowed(
        "median_unit_price",
        ALL,
        "purchase",
        "money",
        "median(unit price of a line)",
        "Price of the line in the middle.",
        lambda _: pl.col("price").median(),
    ),
    *windowed(
        "max_unit_price",
        ALL,
        "purchase",
        "money",
        "max(unit price of a line)",
        "Dearest product bought.",
        lambda _: pl.col("unit_price").max(),
    ),
    *windowed(
        "mean_price_level",
        YEAR_AND_ALL,
        "purchase",
        "ratio",
        "mean(unit price / the product's median price so far)",
        "Price paid against what everybody pays for the same product.",
        lambda rows: pl.col("level").filter(rows).sort().mean(),
    ),
    *windowed(
        "discounted_line_share",
        YEAR_AND_ALL,
        "purchase",
        "share",
        f"count(lines below {CHEAP} x the product's median price so far) / count(lines)",
        "Lines bought for less than usual.",
        lambda rows: _mean((pl.col("level") < CHEAP).filter(rows)),
    ),
    *windowed(
        "dear_line_share",
        ALL,
        "purchase",
        "share",
        f"count(lines above {DEAR} x the product's median price so far) / count(lines)",
        "Lines bought for more than usual.",
        lambda _: _mean(pl.col("level") > DEAR),
    ),
]
"""What is paid, against the median price of the product's purchases up to the day, guests' included."""

RETURNS = [
    *windowed(
        "return_count",
        YEAR_AND_ALL,
        "return",
        "count",
        "count(distinct invoices with a return)",
        "Invoices that return something.",
        lambda rows: pl.col("order").filter(rows).n_unique(),
    ),
    *windowed(
        "return_amount",
        SEASON_YEAR_AND_ALL,
        "return",
        "money",
        "sum(amount returned)",
        "Amount returned, above 0.",
        lambda rows: AMOUNT.filter(rows).sum(),
    ),
    *windowed(
        "return_unit_count",
        YEAR_AND_ALL,
        "return",
        "count",
        "sum(units returned)",
        "Units returned.",
        lambda rows: pl.col("units").filter(rows).sum(),
    ),
    *windowed(
        "returned_product_count",
        ALL,
        "return",
        "count",
        "count(distinct products returned)",
        "Products returned.",
        lambda _: pl.col("stock_code").n_unique(),
    ),
    Feature(
        "days_since_last_return",
        "return",
        ALL_DAYS,
        "days",
        "min(age)",
        "Days since the last return; null without one.",
        AGE.min(),
    ),
]
"""What comes back."""

LINES = [
    *windowed(
        "net_amount",
        YEAR_AND_ALL,
        "line",
        "money",
        "sum(amount of all lines)",
        "Amount of all lines: returns deducted, postage, fees and discounts included.",
        lambda rows: AMOUNT.filter(rows).sum(),
    ),
    *windowed(
        "postage_amount",
        ALL,
        "line",
        "money",
        "sum(amount of postage lines)",
        "Postage, refunds deducted.",
        lambda _: AMOUNT.filter(pl.col("line_type") == "postage").sum(),
    ),
    Feature(
        "country",
        "last line",
        ALL_DAYS,
        "text",
        "country of the last line that names one",
        "Where the customer is.",
        pl.col("country").last(),
    ),
    *windowed(
        "country_count",
        ALL,
        "line",
        "count",
        "count(distinct countries)",
        "Countries the lines name.",
        lambda _: pl.col("country").drop_nulls().n_unique(),
    ),
]
"""Of all lines, whatever their type."""

DERIVED = [
    *(
        derived(
            f"mean_unit_price_{window}",
            f"last {window[:-1]} days" if window != "all" else ALL_DAYS,
            "money",
            f"purchase_amount_{window} / unit_count_{window}",
            "What a unit cost on average.",
            ratio(f"purchase_amount_{window}", f"unit_count_{window}"),
        )
        for window in SEASON_YEAR_AND_ALL
    ),
    derived(
        "order_value_cv_all",
        ALL_DAYS,
        "ratio",
        "order_value_sd_all / mean_order_value_all",
        "How much orders differ, against their mean.",
        ratio("order_value_sd_all", "mean_order_value_all"),
    ),
    derived(
        "last_order_value_ratio",
        ALL_DAYS,
        "ratio",
        "last_order_value_all / mean_order_value_all",
        "Last order against the mean one.",
        ratio("last_order_value_all", "mean_order_value_all"),
    ),
    derived(
        "max_order_share_all",
        ALL_DAYS,
        "share",
        "max_order_value_all / purchase_amount_all",
        "Share of the largest order.",
        ratio("max_order_value_all", "purchase_amount_all"),
    ),
    derived(
        "gap_days_cv_all",
        ALL_DAYS,
        "ratio",
        "gap_days_sd_all / mean_gap_days_all",
        "How irregular, against the mean gap.",
        ratio("gap_days_sd_all", "mean_gap_days_all"),
    ),
    derived(
        "last_gap_ratio",
        ALL_DAYS,
        "ratio",
        "last_gap_days_all / mean_gap_days_all",
        "Newest gap against the mean one.",
        ratio("last_gap_days_all", "mean_gap_days_all"),
    ),
    derived(
        "silence_ratio",
        ALL_DAYS,
        "ratio",
        "days_since_last_order / mean_gap_days_all",
        "Silence against the mean gap: above 1 is overdue.",
        ratio("days_since_last_order", "mean_gap_days_all"),
    ),
    derived(
        "orders_per_active_month_all",
        ALL_DAYS,
        "ratio",
        "order_count_all / active_month_count_all",
        "Orders of a month with any.",
        ratio("order_count_all", "active_month_count_all"),
    ),
    derived(
        "orders_per_30_days_all",
        ALL_DAYS,
        "ratio",
        "30 x order_count_all / (days_since_first_order + 1)",
        "Rate of orders since the first.",
        30 * pl.col("order_count_all") / (pl.col("days_since_first_order") + 1),
    ),
    derived(
        "order_trend_90d",
        "last 90 days and the 90 before",
        "ratio",
        "order_count_90d / previous_order_count_90d",
        "Orders now against before; null without any before.",
        ratio("order_count_90d", "previous_order_count_90d"),
    ),
    derived(
        "amount_trend_90d",
        "last 90 days and the 90 before",
        "ratio",
        "purchase_amount_90d / previous_purchase_amount_90d",
        "Amount now against before; null without any before.",
        ratio("purchase_amount_90d", "previous_purchase_amount_90d"),
    ),
    derived(
        "amount_trend_365d",
        "last 365 days and the 365 before",
        "ratio",
        "purchase_amount_365d / previous_purchase_amount_365d",
        "Amount of the year against the year before; null without any before.",
        ratio("purchase_amount_365d", "previous_purchase_amount_365d"),
    ),
    derived(
        "recent_amount_share_365d",
        "last 365 days",
        "share",
        "purchase_amount_90d / purchase_amount_365d",
        "Share of the year's amount in its last 90 days.",
        ratio("purchase_amount_90d", "purchase_amount_365d"),
    ),
    derived(
        "new_product_share_90d",
        "last 90 days",
        "share",
        "new_product_count_90d / product_count_90d",
        "Share of products that are new to the customer.",
        ratio("new_product_count_90d", "product_count_90d"),
    ),
    derived(
        "repeat_product_share_all",
        ALL_DAYS,
        "share",
        "repeat_product_count_all / product_count_all",
        "Share of products bought again on another day.",
        ratio("repeat_product_count_all", "product_count_all"),
    ),
    derived(
        "top_product_share_all",
        ALL_DAYS,
        "share",
        "top_product_amount_all / purchase_amount_all",
        "Share of the product bought for most.",
        ratio("top_product_amount_all", "purchase_amount_all"),
    ),
    *(
        derived(
            f"return_amount_ratio_{window}",
            "last 365 days" if window == "365d" else ALL_DAYS,
            "ratio",
            f"return_amount_{window} / purchase_amount_{window}",
            "Amount returned against bought; above 1 where what was bought before comes back.",
            ratio(f"return_amount_{window}", f"purchase_amount_{window}"),
        )
        for window in YEAR_AND_ALL
    ),
    derived(
        "return_unit_ratio_all",
        ALL_DAYS,
        "ratio",
        "return_unit_count_all / unit_count_all",
        "Units returned against bought.",
        ratio("return_unit_count_all", "unit_count_all"),
    ),
    derived(
        "return_order_ratio_all",
        ALL_DAYS,
        "ratio",
        "return_count_all / order_count_all",
        "Returns for an order.",
        ratio("return_count_all", "order_count_all"),
    ),
    derived(
        "postage_ratio_all",
        ALL_DAYS,
        "ratio",
        "postage_amount_all / purchase_amount_all",
        "Postage against goods.",
        ratio("postage_amount_all", "purchase_amount_all"),
    ),
]
"""Ratios and trends."""

CUSTOMER_FEATURES: tuple[Feature, ...] = (
    *ORDERS,
    *BASKETS,
    *GAPS,
    *HABITS,
    *RANGE,
    *PRICES,
    *RETURNS,
    *LINES,
    *DERIVED,
)
"""All of them; a feature of features comes after those it is computed from."""

PAGE = """One row per customer with an order: how it has bought, up to the end of one day.

Grain: customer_id.  Source: silver/sales up to the newest closed month; categories of gold/product_category.
Units: amounts in the shop's currency, shares from 0 to 1; terms and formulas in docs/features.md.
Nothing later than as_of_date counts. Where a feature has no basis it is null.
"""

CUSTOMER_FEATURE = Table(
    "gold",
    "customer_feature",
    feature_contract(
        "CustomerFeature",
        PAGE,
        {
            "customer_id": (pl.String(), "Customer number."),
            "as_of_date": (pl.Date(), "Last day of the newest closed month; all features are as of its end."),
        },
        CUSTOMER_FEATURES,
    ),
    key=("customer_id",),
)

"""The named analytic queries, as data: a table, other names for some columns, and what each argument does.

A further query is a further entry; it needs no code. What a query computes is a mart's matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import strawberry

from retail_platform.serving.graphql.scalars import Day
from retail_platform.serving.query.shapes import Operator


@strawberry.enum(description="Length of a period; weeks begin on Monday, as in ISO 8601.")
class TimeGranularity(Enum):
    """Values of sales_by_period.granularity."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    YEARLY = "YEARLY"


@strawberry.enum(description="What products are ranked by, largest first.")
class ProductMetric(Enum):
    """Columns of product_performance."""

    REVENUE = "net_revenue"
    UNITS = "unit_count"
    ORDERS = "order_count"
    CUSTOMERS = "customer_count"
    RETURN_RATE = "return_rate_pct"
    AVG_UNIT_PRICE = "avg_unit_price"


@strawberry.enum(
    description="A: the products that together bring the first 80 % of revenue; B: up to 95 %; C: the rest."
)
class AbcClass(Enum):
    """Values of product_performance.abc_class."""

    A = "A"
    B = "B"
    C = "C"


@dataclass(frozen=True)
class Compares:
    """The argument is what a column is compared with."""

    column: str
    operator: Operator = Operator.EQ


@dataclass(frozen=True)
class NamesCountry:
    """The argument is a country, as people write it, that the row is of."""

    column: str = "country_key"


@dataclass(frozen=True)
class Sorts:
    """The argument's value is the column that rows are sorted by, largest first."""


@dataclass(frozen=True)
class Limits:
    """The argument is the largest number of rows."""


@dataclass(frozen=True)
class Argument:
    """An argument of a named query.

    Attributes:
        type: Python type of its scalar or enum.
        required: whether it has to be given; one with a default may be left out, but not null.
    """

    name: str
    type: object
    effect: Compares | NamesCountry | Sorts | Limits
    description: str
    required: bool = False
    default: object = strawberry.UNSET


@dataclass(frozen=True)
class History:
    """A list inside the row: all rows along a relation to many, in the order of one of their columns."""

    relation: str
    sort: str
    description: str


@dataclass(frozen=True)
class Analytic:
    """A named query.

    Attributes:
        type_name: of its rows; None for those of the table itself, which needs `names` and `histories` empty.
        names: column -> name of its field, where that is not the column's own.
        sort: columns, first the one that counts most.
        is_one: whether it answers one row or null instead of a list.
    """

    name: str
    table: str
    description: str
    arguments: tuple[Argument, ...] = ()
    type_name: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    sort: tuple[str, ...] = ()
    is_one: bool = False


def _days(column: str, what: str) -> tuple[Argument, Argument]:
    return (
        Argument("dateFrom", Day, Compares(column, Operator.GTE), f"Only {what} that begin on this day or later."),
        Argument("dateTo", Day, Compares(column, Operator.LTE), f"Only {what} that begin on this day or earlier."),
    )


FIRST = Argument("first", int, Limits(), "At most this many rows; without it all, up to 10,000.")

ANALYTICS = (
    Analytic(
        name="salesAnalytics",
        table="sales_by_period",
        description="Sales per period, oldest first.",
        arguments=(
            Argument("granularity", TimeGranularity, Compares("granularity"), "Length of a period.", required=True),
            *_days("period", "periods"),
            FIRST,
        ),
        type_name="SalesAnalytics",
        names={"net_revenue": "totalRevenue", "customer_count": "uniqueCustomers"},
        sort=("period",),
    ),
    Analytic(
        name="customerSegments",
        table="customer_segments",
        description="Segments of customers by recency, frequency and monetary value, by name.",
        type_name="CustomerSegment",
        names={"rfm_segment": "segmentName"},
        sort=("rfm_segment",),
    ),
    Analytic(
        name="productPerformance",
        table="product_performance",
        description="Products, the best by a metric first.",
        arguments=(
            Argument("metric", ProductMetric, Sorts(), "What is best.", required=True, default=ProductMetric.REVENUE),
            Argument("topN", int, Limits(), "At most this many products.", required=True, default=20),
            Argument("abcClass", AbcClass, Compares("abc_class"), "Only products of this class."),
        ),
    ),
    Analytic(
        name="countrySales",
        table="country_sales",
        description="Sales per country and month, oldest first.",
        arguments=(
            Argument("country", str, NamesCountry(), "English name, ISO 3166 code or usual short form (UK, EIRE)."),
            *_days("sale_month", "months"),
            FIRST,
        ),
        sort=("sale_month", "country_name"),
    ),
    Analytic(
        name="cohortRetention",
        table="cohort_retention",
        description="How many of the customers who first ordered in a month came back in each month since.",
        arguments=(
            *_days("cohort_month", "cohorts"),
            Argument(
                "maxMonths", int, Compares("month_number", Operator.LTE), "Only this many months since the first."
            ),
            FIRST,
        ),
        sort=("cohort_month", "month_number"),
    ),
    Analytic(
        name="customer",
        table="customer_lifetime",
        description="A customer as of the newest day, with its history; null when there is no such customer.",
        arguments=(Argument("id", str, Compares("customer_id"), "Customer number.", required=True),),
        type_name="Customer",
        histories={
            "segmentHistory": History("versions", "valid_from", "The customer's segments over time, oldest first.")
        },
        is_one=True,
    ),
    Analytic(
        name="dataQuality",
        table="day_quality",
        description="How many rows of a day were delivered, accepted and rejected, and why; null for an unknown day.",
        arguments=(Argument("day", Day, Compares("sale_date"), "Day of the sales.", required=True),),
        is_one=True,
    ),
    Analytic(
        name="freshness",
        table="freshness",
        description="How new the data are; null before the first load.",
        is_one=True,
    ),
)

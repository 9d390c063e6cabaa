"""Customer month summaries and, from them, scores at each close and the versions of `dim_customer`.

Written on Narwhals. Which scores make which segment stays out (`segments.py`).
"""

from datetime import date, timedelta
from typing import Any

import narwhals as nw

from retail_platform.contracts import CUSTOMER_MONTHS, DIM_CUSTOMER
from retail_platform.lakehouse.days import next_month
from retail_platform.transforms.decimals import of_units, whole_units
from retail_platform.transforms.keys import UNKNOWN_KEY, surrogate_keys
from retail_platform.transforms.segments import NOT_JUDGED, NOT_SCORED, rfm_segment, value_tier
from retail_platform.transforms.versions import (
    carry_forward,
    has_changed,
    months_later,
    with_intervals,
    with_missing,
    with_previous,
)

CUSTOMER_MONTH = ("sale_month", "customer_id")
WINDOW_MONTHS = 12
"""Scores look at the twelve months that end with the close."""
AMOUNTS = ("spent", "net_revenue", "product_revenue")
SCORES = ("recency_score", "frequency_score", "monetary_score")
MONEY = nw.Decimal(18, 4)
BEFORE_ALL_SALES = date(1900, 1, 1)


def customer_months(lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Sum up the silver lines of whole months by customer; lines of guests are left out.

    Args:
        lines: silver lines (contract `SilverSales`), all of them for every month they touch.

    Returns:
        One row per (sale_month, customer_id), contract `CustomerMonths`, in no order.
    """
    parts = _invoice_parts(lines.filter(~nw.col("customer_id").is_null()))
    months = _totals(parts)
    first_day = parts.join(
        months.select(*CUSTOMER_MONTH, nw.col("first_date").alias("sale_date")),
        on=[*CUSTOMER_MONTH, "sale_date"],
        how="inner",
    )
    first_totals = _totals(first_day).select(
        *CUSTOMER_MONTH,
        *(nw.col(name).alias(f"first_{name}") for name in ("orders", "spent", "net_revenue")),
    )
    pieces = (first_totals, _last_country(parts, "country"), _last_country(first_day, "first_country"))
    for piece in pieces:
        months = months.join(piece, on=list(CUSTOMER_MONTH), how="left")
    return months.select(*CUSTOMER_MONTHS.schema)


def score_customers(months: nw.LazyFrame[Any], first_close: date, last_close: date) -> nw.LazyFrame[Any]:
    """Score the customers that bought in the twelve months before each close.

    Args:
        months: customer months (contract `CustomerMonths`); only those of the closes' windows are used.
        first_close: first day of the first month to close.
        last_close: first day of the last month to close.

    Returns:
        One row per customer and close with an uncancelled invoice in the window: customer_id, close (first day of the
        month), the three scores (1 to 5, 5 is best, equal customers score the same) and rfm_segment.
    """
    windows = nw.concat([_months_seen_from(months, ahead) for ahead in range(WINDOW_MONTHS)], how="vertical")
    bought = (
        windows.filter(nw.col("close").is_between(first_close, last_close))
        .group_by("customer_id", "close")
        .agg(nw.col("last_order_date").max(), nw.col("orders").sum(), nw.col("product_revenue").sum())
        .filter(nw.col("orders") > 0)
    )
    # pandas ranks neither days nor decimals.
    day = nw.col("last_order_date").dt
    ranked = bought.with_columns(
        recency=(day.year().cast(nw.Int64) * 10_000 + day.month().cast(nw.Int64) * 100 + day.day().cast(nw.Int64)),
        orders=nw.col("orders").cast(nw.Int64),
        revenue=whole_units(nw.col("product_revenue"), 4).cast(nw.Int64),
    )
    scored = ranked.with_columns(
        recency_score=_score("recency"),
        frequency_score=_score("orders"),
        monetary_score=_score("revenue"),
    )
    return scored.select("customer_id", "close", *SCORES, _text(rfm_segment()).alias("rfm_segment"))


def customer_versions(months: nw.LazyFrame[Any], open_month: date) -> nw.LazyFrame[Any]:
    """The versions of every customer, judged at the close of each month.

    A version starts on the customer's first day, judged on that day alone, and on the 1st after a month at whose
    close the country or the segment is another than before. Totals and scores are those of the last close whose
    judgement is in force under the version; before any close those of the first day, without scores.

    Args:
        months: customer months (contract `CustomerMonths`), all of them.
        open_month: first day of the month of the newest silver line of any customer; earlier months are closed.

    Returns:
        One row per (customer_id, valid_from): the columns of `DimCustomer` but the key and avg_order_value; in no
        order. The guest is not among them.
    """
    last_close = (open_month - timedelta(days=1)).replace(day=1)
    first = months.filter(nw.col("sale_month") == nw.col("sale_month").min().over("customer_id"))
    scores = score_customers(months, BEFORE_ALL_SALES, last_close)
    judged = nw.concat([_first_days(first), _closes(months, first, scores, last_close)], how="vertical")
    tracked = carry_forward(judged, ["country", "rfm_segment"], "customer_id")
    compared = with_previous(tracked, ["country", "rfm_segment"], "customer_id")
    starts = compared.filter(has_changed("rfm_segment") | has_changed("country"))
    versions = with_intervals(starts.select("customer_id", "country", "rfm_segment", "valid_from"), "customer_id")
    return _with_totals(_with_judging_close(versions, first, last_close), months, first, scores)


def customer_dimension(versions: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Finish `dim_customer`: surrogate keys, average order values and the guest.

    Args:
        versions: the rows of `customer_versions`.

    Returns:
        Contract `DimCustomer`, in no order; with the guest.
    """
    averaged = versions.with_columns(avg_order_value=_average("total_spent", "total_orders"))
    keyed = surrogate_keys(averaged, ("customer_id", "valid_from"), "customer_key")
    return nw.concat([with_missing(frame, DIM_CUSTOMER.schema) for frame in (_guest(versions), keyed)], how="vertical")


def _invoice_parts(lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Lines summed by invoice, day, time and country: few rows, from which everything else is summed."""
    amount = nw.col("line_amount")
    split = lines.with_columns(
        spent=nw.when(~nw.col("is_cancelled")).then(amount),
        net_revenue=amount,
        product_revenue=nw.when(nw.col("line_type") == "product").then(amount),
    )
    keys = (*CUSTOMER_MONTH, "sale_date", "invoice_no", "is_cancelled", "invoiced_at", "country")
    return split.group_by(*keys).agg(*_sums())


def _totals(parts: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Orders, amounts, first day and last order of each customer and month; an order is an invoice of a day."""
    invoices = parts.group_by(*CUSTOMER_MONTH, "sale_date", "invoice_no", "is_cancelled").agg(*_sums())
    counted = invoices.with_columns(
        orders=(~nw.col("is_cancelled")).cast(nw.Int64),
        last_order_date=nw.when(~nw.col("is_cancelled")).then(nw.col("sale_date")),
        first_date=nw.col("sale_date"),
    )
    months = counted.group_by(*CUSTOMER_MONTH).agg(
        nw.col("orders").sum(), nw.col("last_order_date").max(), nw.col("first_date").min(), *_sums()
    )
    # Engines differ in what the sum of nothing is (null or 0), and in the width of a sum of decimals.
    return months.with_columns(
        nw.col("orders").cast(nw.Int64), *(nw.col(name).fill_null(0).cast(MONEY) for name in AMOUNTS)
    )


def _sums() -> list[nw.Expr]:
    return [nw.col(name).sum() for name in AMOUNTS]


def _last_country(parts: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    """Country of the last line that names one, by invoiced_at, invoice_no and text, of each customer and month."""
    last = parts.filter(~nw.col("country").is_null())
    for column in ("invoiced_at", "invoice_no"):
        last = last.filter(nw.col(column) == nw.col(column).max().over(*CUSTOMER_MONTH))
    return last.group_by(*CUSTOMER_MONTH).agg(nw.col("country").max().alias(name))


def _months_seen_from(months: nw.LazyFrame[Any], ahead: int) -> nw.LazyFrame[Any]:
    """What scores need of each month, as the close that comes so many months later sees it."""
    close = months_later("sale_month", ahead).alias("close")
    return months.select("customer_id", "last_order_date", "orders", "product_revenue", close)


def _score(column: str) -> nw.Expr:
    """1 to 5 by the minimum rank of a value among the customers of a close, the highest value scoring best."""
    rank = nw.col(column).rank("min").over("close").cast(nw.Int64)
    customers = nw.len().over("close").cast(nw.Int64)
    return (1 + (rank - 1) * 5 // customers).cast(nw.Int16)


def _first_days(first: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """What is judged of each customer on the first day, from its first month."""
    return first.select(
        "customer_id",
        nw.col("first_country").alias("country"),
        _text(nw.lit(NOT_JUDGED)).alias("rfm_segment"),
        nw.col("first_date").alias("valid_from"),
    )


def _closes(
    months: nw.LazyFrame[Any], first: nw.LazyFrame[Any], scores: nw.LazyFrame[Any], last_close: date
) -> nw.LazyFrame[Any]:
    """What is judged of each customer at the closes at which it can change; null where nothing is said."""
    close, segment, not_a_text = nw.col("sale_month").alias("close"), "rfm_segment", nw.col("customer_id").is_null()
    unsaid = nw.when(not_a_text).then(nw.col("customer_id"))
    # Without a score a customer is at the first close, or from the twelfth month after one with an order on.
    lapses = months.filter(nw.col("orders") > 0).select(
        "customer_id", months_later("sale_month", WINDOW_MONTHS).alias("close")
    )
    candidates = nw.concat([first.select("customer_id", close), lapses], how="vertical")
    not_scored = candidates.join(scores, on=["customer_id", "close"], how="anti")
    said = nw.concat(
        [
            scores.select("customer_id", "close", segment, unsaid.alias("country")),
            not_scored.select(
                "customer_id", "close", _text(nw.lit(NOT_SCORED)).alias(segment), unsaid.alias("country")
            ),
            months.select("customer_id", close, unsaid.alias(segment), "country"),
        ],
        how="vertical",
    )
    closed = said.filter(nw.col("close") <= last_close)
    judged = closed.group_by("customer_id", "close").agg(nw.col("country").max(), nw.col("rfm_segment").max())
    return judged.select("customer_id", "country", "rfm_segment", months_later("close", 1).alias("valid_from"))


def _with_judging_close(versions: nw.LazyFrame[Any], first: nw.LazyFrame[Any], last_close: date) -> nw.LazyFrame[Any]:
    """Add registration_date and close: the last close whose judgement is in force under the version, or null."""
    registered = first.select(
        "customer_id", nw.col("first_date").alias("registration_date"), nw.col("sale_month").alias("first_close")
    )
    dated = versions.join(registered, on="customer_id", how="left").with_columns(
        close=months_later("valid_to", -2).fill_null(last_close)
    )
    month_after = months_later("valid_to", -1).fill_null(next_month(last_close))
    in_force = (nw.col("close") >= nw.col("first_close")) & (month_after >= nw.col("valid_from"))
    return dated.with_columns(close=nw.when(in_force).then(nw.col("close")))


def _with_totals(
    versions: nw.LazyFrame[Any], months: nw.LazyFrame[Any], first: nw.LazyFrame[Any], scores: nw.LazyFrame[Any]
) -> nw.LazyFrame[Any]:
    """Add totals and scores as of each version's close, or of the first day where there is none."""
    version = ("customer_id", "valid_from")
    totals = ("orders", "spent", "net_revenue")
    until_close = (
        versions.select(*version, "close")
        .join(months.select("customer_id", "sale_month", *totals), on="customer_id", how="inner")
        .filter(nw.col("sale_month") <= nw.col("close"))
        .group_by(*version)
        .agg(nw.col(name).sum() for name in totals)
    )
    first_day = first.select("customer_id", *(f"first_{name}" for name in totals))
    scored = scores.select("customer_id", "close", *SCORES)
    joined = (
        versions.join(until_close, on=list(version), how="left")
        .join(first_day, on="customer_id", how="left")
        .join(scored, on=["customer_id", "close"], how="left")
    )
    segment = nw.when(nw.col("close").is_null()).then(nw.lit("New")).otherwise(value_tier())
    return joined.select(
        *version,
        segment.alias("customer_segment"),
        "registration_date",
        nw.coalesce("net_revenue", "first_net_revenue").cast(MONEY).alias("lifetime_value"),
        nw.coalesce("orders", "first_orders").cast(nw.Int64).alias("total_orders"),
        nw.coalesce("spent", "first_spent").cast(MONEY).alias("total_spent"),
        *SCORES,
        *("rfm_segment", "country", "valid_to", "is_current", "version"),
    )


def _text(constant: nw.Expr) -> nw.Expr:
    """A constant of the type of a column: to pandas a text by itself is an object, of which it finds no greatest."""
    return nw.concat_str(nw.col("customer_id").str.slice(0, 0), constant)


def _average(amount: str, count: str) -> nw.Expr:
    """Amount by count, rounded half up to 4 places in whole ten-thousandths; null where the count is 0."""
    smallest = whole_units(nw.col(amount), 4).cast(nw.Int64)
    counted = nw.when(nw.col(count) > 0).then(nw.col(count))
    return of_units((2 * smallest + counted) // (2 * counted), 4)


def _guest(versions: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The member that sales without a customer belong to: one row, on the engine of the versions."""
    guest = {
        "customer_key": nw.lit(UNKNOWN_KEY, dtype=nw.Int64),
        "customer_segment": nw.lit("Guest"),
        "rfm_segment": nw.lit(NOT_SCORED),
        "valid_from": nw.lit(BEFORE_ALL_SALES),
        "is_current": nw.lit(True),
        "version": nw.lit(1, dtype=nw.Int32),
    }
    return versions.select(nw.len()).select(expression.alias(name) for name, expression in guest.items())

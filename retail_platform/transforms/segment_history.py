"""Every customer's segment at each close, how customers move between segments, and what must hold of both.

How customers are scored stays out (`customers.py`), and so does which scores make which segment (`segments.py`).
"""

from datetime import date, timedelta

import narwhals as nw
import polars as pl

from retail_platform.contracts import CUSTOMER_SEGMENT_MONTH
from retail_platform.contracts.gold import SEGMENTS
from retail_platform.transforms.customers import BEFORE_ALL_SALES, SCORES, score_customers
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding
from retail_platform.transforms.segments import NOT_SCORED

NOT_YET = "Not Yet a Customer"
"""What a customer moves from in its first month; the mart segment_transitions says the same."""


def segment_months(months: pl.LazyFrame, open_month: date) -> pl.DataFrame:
    """Judge every customer at the close of each month since its first one.

    Args:
        months: customer months (contract `CustomerMonths`), all of them.
        open_month: first day of the month of the newest silver line of any customer; earlier months are closed.

    Returns:
        Contract `CustomerSegmentMonth`, ordered by as_of_date and customer_id.
    """
    last_close = (open_month - timedelta(days=1)).replace(day=1)
    scores: pl.LazyFrame = score_customers(nw.from_native(months), BEFORE_ALL_SALES, last_close).to_native()
    bought = months.select("customer_id", "sale_month", pl.col("orders").alias("order_count"), "net_revenue")
    judged = (
        _closes(months, last_close)
        .join(scores.rename({"close": "sale_month"}), on=["customer_id", "sale_month"], how="left")
        .join(bought, on=["customer_id", "sale_month"], how="left")
        .with_columns(pl.col("rfm_segment").fill_null(NOT_SCORED), pl.col("order_count", "net_revenue").fill_null(0))
    )
    return (
        judged.with_columns(
            as_of_date=pl.col("sale_month").dt.month_end(),
            previous_segment=pl.col("rfm_segment").shift(1).over("customer_id", order_by="sale_month"),
        )
        .select(*CUSTOMER_SEGMENT_MONTH.schema)
        .cast(CUSTOMER_SEGMENT_MONTH.schema)
        .sort("as_of_date", "customer_id")
        .collect()
    )


def days_that_differ(before: pl.DataFrame, after: pl.DataFrame) -> list[date]:
    """The closes at which two histories have other rows, in order.

    Args:
        before: a history (contract `CustomerSegmentMonth`), in any order.
        after: another one.
    """
    left, right = (
        {day: rows for (day,), rows in frame.sort("customer_id").partition_by("as_of_date", as_dict=True).items()}
        for frame in (before, after)
    )
    days = left.keys() | right.keys()
    return sorted(d for d in days if d not in left or d not in right or not left[d].equals(right[d]))


def every_month_has_its_row(history: pl.DataFrame, months: pl.LazyFrame, open_month: date) -> Finding:
    """Whether each customer has a row for every closed month since its first, with the segment of the row before.

    Args:
        history: the history (contract `CustomerSegmentMonth`), its keys unique.
        months: customer months (contract `CustomerMonths`), all of them.
        open_month: first day of the first month that is not closed.
    """
    first = months.group_by("customer_id").agg(first=pl.col("sale_month").min()).collect()
    since = 12 * (open_month.year - pl.col("first").dt.year()) + open_month.month - pl.col("first").dt.month()
    expected = first.with_columns(expected=since.clip(0)).filter(pl.col("expected") > 0)
    before = pl.col("rfm_segment").shift(1).over("customer_id", order_by="as_of_date")
    found = history.group_by("customer_id").agg(
        rows=pl.len(), found_first=pl.col("sale_month").min(), found_last=pl.col("as_of_date").max()
    )
    compared = expected.join(found, on="customer_id", how="full", coalesce=True)
    wrong = compared.filter(
        pl.col("rows").ne_missing(pl.col("expected"))
        | pl.col("found_first").ne_missing(pl.col("first"))
        | pl.col("found_last").ne_missing(open_month - timedelta(days=1))
    ).sort("customer_id")
    astray = history.filter(pl.col("previous_segment").ne_missing(before))
    return Finding(
        "every_month_has_its_row",
        wrong.is_empty() and astray.is_empty(),
        f"{wrong.height} of {expected.height} customers have other months than those since their first line, and "
        f"{astray.height} of {history.height} rows come from another segment than the row before; expected none.",
        {"customers": wrong.head(EVIDENCE_ROWS), "astray": astray.head(EVIDENCE_ROWS)},
    )


def history_agrees_with_versions(history: pl.DataFrame, versions: pl.DataFrame) -> Finding:
    """Whether each close has the segment of the customer's version of the next day, and the last close its scores.

    Args:
        history: the history (contract `CustomerSegmentMonth`).
        versions: the versions (contract `DimCustomer`).
    """
    columns = ("customer_id", "valid_from", "valid_to", "is_current", "rfm_segment", *SCORES)
    next_day = history.with_columns(next_day=pl.col("as_of_date").dt.offset_by("1d")).sort("next_day")
    joined = next_day.join_asof(
        versions.drop_nulls("customer_id").select(columns).sort("valid_from"),
        left_on="next_day",
        right_on="valid_from",
        by="customer_id",
        suffix="_in_force",
        check_sortedness=False,
    )
    is_last = pl.col("is_current") & (pl.col("as_of_date") == pl.col("as_of_date").max())
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_in_force")) for name in SCORES]
    wrong = joined.filter(
        pl.col("rfm_segment").ne_missing(pl.col("rfm_segment_in_force"))
        | (pl.col("valid_to") <= pl.col("next_day")).fill_null(False)
        | (is_last & pl.any_horizontal(differs))
    )
    return Finding(
        "history_agrees_with_versions",
        wrong.is_empty(),
        f"{wrong.height} of {history.height} rows have another segment than gold/dim_customer on the day after, or at "
        "the last close other scores; expected none. Run both again for the months shown.",
        {"rows": wrong.select(*history.columns, "rfm_segment_in_force").head(EVIDENCE_ROWS)},
    )


def segment_moves(history: pl.DataFrame) -> pl.DataFrame:
    """How many customers the newest close moved from one segment to another.

    Args:
        history: the history (contract `CustomerSegmentMonth`).

    Returns:
        A row per segment that customers can come from, in the order of `SEGMENTS`, new ones last: from_segment, and a
        column per segment with the customers that are in it now.
    """
    newest = history.filter(pl.col("as_of_date") == pl.col("as_of_date").max())
    moved = newest.group_by(from_segment=pl.col("previous_segment").fill_null(NOT_YET)).agg(
        (pl.col("rfm_segment") == name).sum().cast(pl.Int64).alias(name) for name in SEGMENTS
    )
    rows = pl.DataFrame({"from_segment": [*SEGMENTS, NOT_YET]})
    return rows.join(moved, on="from_segment", how="left", maintain_order="left").fill_null(0)


def segment_sizes(history: pl.DataFrame) -> pl.DataFrame:
    """How many customers each segment has at each close.

    Args:
        history: the history (contract `CustomerSegmentMonth`).

    Returns:
        as_of_date, and a column per segment in the order of `SEGMENTS`; ordered by as_of_date.
    """
    sizes = ((pl.col("rfm_segment") == name).sum().alias(name) for name in SEGMENTS)
    return history.group_by("as_of_date").agg(sizes).sort("as_of_date")


def _closes(months: pl.LazyFrame, last_close: date) -> pl.LazyFrame:
    """A row per customer and closed month (sale_month) since its first line."""
    first = months.group_by("customer_id").agg(pl.col("sale_month").min()).filter(pl.col("sale_month") <= last_close)
    return first.with_columns(pl.date_ranges("sale_month", pl.lit(last_close), "1mo")).explode("sale_month")

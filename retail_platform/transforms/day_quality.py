"""How the delivered rows of each day were judged, counted. Written on Narwhals.

The judgement itself stays out (`sales.py`), and so do thresholds and scores over time.
"""

from typing import Any

import narwhals as nw

from retail_platform.contracts import DAY_QUALITY
from retail_platform.contracts.silver import REJECT_REASONS
from retail_platform.transforms.decimals import of_units

DAY = ("sale_month", "sale_date")
REASONS = tuple(reason for reason in REJECT_REASONS if f"{reason}_rows" in DAY_QUALITY.schema)
"""The reasons that have a column; what a rule without one drops is in rejected_rows only, until it is given one."""
COUNTS = ("delivered_rows", "accepted_rows", "rejected_rows", *(f"{reason}_rows" for reason in REASONS))
AMOUNTS = ("accepted_amount", "rejected_amount")


def quality_of_days(lines: nw.LazyFrame[Any], rejects: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Count the accepted and rejected rows of whole days.

    Args:
        lines: silver lines (contract `SilverSales`), all of them for every day they touch.
        rejects: the rejected rows of those days (contract `SilverRejects`); rows without a day are left out.

    Returns:
        One row per day with a line or a reject (contract `DayQuality`), in no order.
    """
    accepted = lines.select(*DAY, "line_amount", nw.lit("accepted").alias("reason"))
    rejected = rejects.filter(~nw.col("sale_date").is_null()).select(*DAY, "line_amount", "reason")
    by_reason = (
        nw.concat([accepted, rejected], how="vertical")
        .group_by(*DAY, "reason")
        .agg(nw.col("line_amount").sum(), rows=nw.len(), amounts=nw.col("line_amount").count())
    )
    return _with_rates(_spread(by_reason)).select(*DAY_QUALITY.schema)


def _spread(by_reason: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """One row per day from one per day and reason: a column for each reason, and their sums."""
    is_accepted, rows, amount = nw.col("reason") == "accepted", nw.col("rows"), nw.col("line_amount")
    placed = by_reason.with_columns(
        *(nw.when(nw.col("reason") == reason).then(rows).alias(f"{reason}_rows") for reason in REASONS),
        delivered_rows=rows,
        accepted_rows=nw.when(is_accepted).then(rows),
        rejected_rows=nw.when(~is_accepted).then(rows),
        accepted_amount=nw.when(is_accepted).then(amount),
        rejected_amount=nw.when(~is_accepted).then(amount),
        rejected_amounts=nw.when(~is_accepted).then(nw.col("amounts")),
    )
    return placed.group_by(*DAY).agg(*(nw.col(name).sum() for name in (*COUNTS, *AMOUNTS, "rejected_amounts")))


def _with_rates(days: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The sums in the contract's types, with the share that was accepted, rounded half up to 4 places."""
    # Engines differ in what the sum of nothing is (null or 0), and in the width of a sum.
    typed = days.with_columns(
        *(nw.col(name).fill_null(0).cast(nw.Int64) for name in COUNTS),
        accepted_amount=nw.col("accepted_amount").fill_null(0).cast(nw.Decimal(18, 4)),
        rejected_amount=nw.when(nw.col("rejected_amounts") > 0).then(nw.col("rejected_amount")).cast(nw.Decimal(18, 4)),
    )
    delivered = nw.col("delivered_rows")
    ten_thousandths = (2 * 1_000_000 * nw.col("accepted_rows") + delivered) // (2 * delivered)
    return typed.with_columns(acceptance_pct=of_units(ten_thousandths, 4).cast(nw.Decimal(9, 4)))

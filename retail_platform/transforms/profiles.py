"""Profiles: what the columns of a table or of each delivery look like, one row per column.

A profile is made from the counts of a column's distinct values, so the memory it needs is that of one column's distinct
values, however many rows there are. Comparing profiles stays out (`drift.py`), and so does what is right or wrong.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import polars as pl

from retail_platform.contracts import BRONZE_SALES, QUALITY_PROFILES, SILVER_SALES, Table
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

QUANTILES = {"p01": 1, "p25": 25, "p50": 50, "p75": 75, "p99": 99}
"""Column of the profile -> percent of the filled values that are at most its value."""
TOP_VALUES = 5
"""So many of the most frequent values and patterns are kept."""
PROFILES = pl.Schema(
    {
        "subject": pl.String(),
        "column_name": pl.String(),
        "data_type": pl.String(),
        "row_count": pl.Int64(),
        "null_count": pl.Int64(),
        "null_share_pct": pl.Float64(),
        "distinct_count": pl.Int64(),
        "min_value": pl.String(),
        "max_value": pl.String(),
        **dict.fromkeys(QUANTILES, pl.String()),
        "top_values": pl.String(),
        "top_patterns": pl.String(),
    }
)
"""Columns of a profile; values as text, exactly as the column holds them."""

DESCRIBED: Mapping[Table, Sequence[str]] = {
    BRONZE_SALES: (
        "invoice_no",
        "stock_code",
        "description",
        "quantity",
        "invoice_date",
        "unit_price",
        "customer_id",
        "country",
    ),
    SILVER_SALES: (
        "invoice_no",
        "stock_code",
        "description",
        "quantity",
        "invoiced_at",
        "unit_price",
        "line_amount",
        "customer_id",
        "country",
        "line_type",
        "is_cancelled",
    ),
}
"""Tables that deliveries are described in, and the columns."""
PERSONAL = "customer_id"
"""Of its values nothing is told but counts and patterns."""


def stale_deliveries(
    holding: pl.DataFrame, deliveries: pl.DataFrame, described: pl.DataFrame, changed: Collection[date] | None
) -> pl.DataFrame:
    """Find the deliveries whose profiles have to be made again.

    Args:
        holding: which delivery holds how many rows of a day, or of none (delivery_id, sale_date, rows).
        deliveries: delivery_id and delivered_at; a delivery may be there several times.
        described: the profiles there are (contract `QualityProfiles`).
        changed: days whose rows have changed since; None: all.

    Returns:
        delivery_id, sale_date (the newest day it holds) and delivered_at, of each delivery that holds a changed day, or
        has another number of rows or another stamp than its profile says; those without any day left out.
    """
    stamps = deliveries.select("delivery_id", "delivered_at").unique()
    held = holding.group_by("delivery_id").agg(pl.col("sale_date").max(), row_count=pl.col("rows").sum())
    held = held.drop_nulls("sale_date").join(stamps, on="delivery_id")
    if changed is not None:
        known = described.filter(pl.col("table_name") == str(BRONZE_SALES))
        same = held.join(known, on=["delivery_id", "delivered_at", "row_count"], how="semi")
        touched = holding.filter(pl.col("sale_date").is_in(list(changed)))
        held = held.join(same.join(touched, on="delivery_id", how="anti"), on="delivery_id", how="anti")
    return held.drop("row_count")


def profiles_of_deliveries(rows: Mapping[Table, pl.LazyFrame], deliveries: pl.DataFrame) -> pl.DataFrame:
    """Describe deliveries in the tables that hold their rows.

    Args:
        rows: table of `DESCRIBED` -> all its rows of these deliveries.
        deliveries: delivery_id, sale_date and delivered_at, one row a delivery.

    Returns:
        The profiles (contract `QualityProfiles`), by table, delivery and column.
    """
    described = pl.concat(
        profiles(frame, "delivery_id", DESCRIBED[table]).with_columns(table_name=pl.lit(str(table)))
        for table, frame in rows.items()
    )
    told = ("min_value", "max_value", *QUANTILES, "top_values")
    is_personal = pl.col("column_name") == PERSONAL
    masked = described.rename({"subject": "delivery_id"}).with_columns(pl.when(~is_personal).then(pl.col(told)))
    placed = masked.join(deliveries, on="delivery_id").with_columns(sale_month=pl.col("sale_date").dt.month_start())
    return placed.select(list(QUALITY_PROFILES.schema)).sort(QUALITY_PROFILES.key)


def counts_add_up(frame: pl.DataFrame) -> Finding:
    """Whether every column of a delivery has as many rows, and no more distinct values than filled ones.

    Args:
        frame: profiles (contract `QualityProfiles`).
    """
    filled = pl.col("row_count") - pl.col("null_count")
    are_equal = pl.col("row_count").n_unique().over("table_name", "delivery_id") == 1
    wrong = frame.filter((pl.col("distinct_count") > filled) | (filled < 0) | ~are_equal)
    return Finding(
        "counts_add_up",
        wrong.is_empty(),
        f"{wrong.height} of {frame.height} profiles count otherwise than the rest of their delivery; expected none.",
        {"wrong": wrong.select(*QUALITY_PROFILES.key, "row_count", "null_count", "distinct_count").head(EVIDENCE_ROWS)},
    )


def profiles(rows: pl.LazyFrame, by: str, columns: Sequence[str]) -> pl.DataFrame:
    """Describe the columns of each subject: of every delivery, of every day, or of a table as a whole.

    Args:
        rows: any rows; text columns as delivered or typed ones.
        by: the column that names the subject of a row, for example `delivery_id`; for a whole table a literal.
        columns: the columns to describe.

    Returns:
        One row per subject and column, schema `PROFILES`, by subject in the order of `columns`. distinct_count leaves
        out null. min_value and max_value are in the column's own order (text in that of its code points). Quantiles,
        of numbers, dates and times only, are values that occur: the smallest that at least so many percent of the
        filled values do not exceed. top_values is a JSON array of {"value", "count"}, most frequent first, ties by
        value. top_patterns, of text only, is one of {"pattern", "share_pct"}: each letter as A, each digit as 9, all
        else as it is. What has no filled value is null; a subject without a row has no profile.
    """
    described = [_profile(rows, by, name) for name in columns]
    order = pl.Enum(list(dict.fromkeys(columns)))
    frame = pl.concat([PROFILES.to_frame(), *described])
    return frame.sort("subject", pl.col("column_name").cast(order), nulls_last=True)


def _profile(rows: pl.LazyFrame, by: str, name: str) -> pl.DataFrame:
    """The profile of one column, for every subject."""
    counted = rows.select(subject=pl.col(by).cast(pl.String), value=name).group_by("subject", "value").len("count")
    counts = counted.collect(engine="streaming").with_columns(pl.col("count").cast(pl.Int64))
    dtype, filled = counts.schema["value"], pl.col("value").is_not_null()
    figures = (
        counts.sort("subject", "value", nulls_last=True)
        .group_by("subject", maintain_order=True)
        .agg(
            row_count=pl.col("count").sum(),
            null_count=pl.col("count").filter(~filled).sum(),
            distinct_count=filled.sum().cast(pl.Int64),
            min_value=_text(pl.col("value").filter(filled).first(), dtype),
            max_value=_text(pl.col("value").filter(filled).last(), dtype),
            **{column: _quantile(percent, dtype) for column, percent in QUANTILES.items()},
        )
    )
    facts = figures.with_columns(
        column_name=pl.lit(name),
        data_type=pl.lit(str(dtype)),
        null_share_pct=100 * pl.col("null_count") / pl.col("row_count"),
    )
    filled_counts = counts.filter(filled)
    for tops in (_top_values(filled_counts), _top_patterns(filled_counts)):
        facts = facts.join(tops, on="subject", how="left", nulls_equal=True)
    return facts.select(list(PROFILES)).cast(PROFILES)


def _text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return value if dtype == pl.String else value.cast(pl.String)


def _quantile(percent: int, dtype: pl.DataType) -> pl.Expr:
    """The first of the sorted values whose cumulative count reaches the percentage, as text."""
    if not (dtype.is_numeric() or dtype.is_temporal()):
        return pl.lit(None, dtype=pl.String)
    value, count = (pl.col(name).filter(pl.col("value").is_not_null()) for name in ("value", "count"))
    return value.filter(100 * count.cum_sum() >= percent * count.sum()).first().cast(pl.String)


def _top_values(counts: pl.DataFrame) -> pl.DataFrame:
    top = (
        counts.sort("count", "value", descending=[True, False])
        .group_by("subject", maintain_order=True)
        .head(TOP_VALUES)
        .select("subject", pl.struct(pl.col("value").cast(pl.String), "count").alias("top_values"))
    )
    return _as_json(top, "top_values")


def _top_patterns(counts: pl.DataFrame) -> pl.DataFrame:
    if counts.schema["value"] != pl.String:
        return counts.head(0).select("subject", top_patterns=pl.lit(None, dtype=pl.String))
    pattern = pl.col("value").str.replace_all(r"\p{L}", "A").str.replace_all(r"\p{Nd}", "9")
    shares = (
        counts.group_by("subject", pattern=pattern)
        .agg(pl.col("count").sum())
        .with_columns(share_pct=100 * pl.col("count") / pl.col("count").sum().over("subject"))
    )
    top = (
        shares.sort("count", "pattern", descending=[True, False])
        .group_by("subject", maintain_order=True)
        .head(TOP_VALUES)
        .select("subject", pl.struct("pattern", pl.col("share_pct").round(2)).alias("top_patterns"))
    )
    return _as_json(top, "top_patterns")


def _as_json(top: pl.DataFrame, column: str) -> pl.DataFrame:
    """The structs of each subject as one JSON array."""
    objects = pl.col(column).struct.json_encode().str.join(", ")
    return top.group_by("subject", maintain_order=True).agg(pl.format("[{}]", objects).alias(column))

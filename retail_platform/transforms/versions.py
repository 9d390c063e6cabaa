"""What tables of the star schema share: carrying what was last judged, half-open validity intervals, missing columns.

What is judged, and when it makes a version, stays out (`products.py`, `customers.py`).
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

DAYS_OF_A_MONTH = 30.436875
"""Of the Gregorian calendar, on average; twelve months begin at most 3 days before or after as many of these."""


def months_later(column: str, months: int) -> nw.Expr:
    """The date so many months after the date in a column.

    Args:
        column: a column of first days of months.
        months: how many months, negative for earlier.
    """
    # In pandas nothing is moved by months. So many average months and a half end in the middle of the month meant.
    days = round(months * DAYS_OF_A_MONTH + DAYS_OF_A_MONTH / 2)
    return nw.col(column).cast(nw.Date).dt.offset_by(f"{days}d").dt.truncate("1mo").cast(nw.Date)


def carry_forward(
    frame: nw.LazyFrame[Any], columns: Sequence[str], member: str, order: str = "valid_from"
) -> nw.LazyFrame[Any]:
    """Fill nulls with the last value before them.

    Args:
        frame: rows of many members.
        columns: the columns to fill.
        member: the column that says whose row it is.
        order: the column that orders a member's rows; no two are equal.

    Returns:
        The same rows; a value is null only where none came before it.
    """
    runs = {column: f"{column}_run" for column in columns}
    numbered = frame.with_columns(
        (~nw.col(column).is_null()).cast(nw.Int64).cum_sum().over(member, order_by=order).alias(run)
        for column, run in runs.items()
    )
    return numbered.with_columns(nw.col(column).max().over(member, run) for column, run in runs.items()).drop(
        *runs.values()
    )


def with_previous(frame: nw.LazyFrame[Any], columns: Sequence[str], member: str) -> nw.LazyFrame[Any]:
    """Add `previous_<column>`, the value in the member's row before this one by valid_from; null in the first.

    Args:
        frame: rows of many members, ordered by valid_from.
        columns: the columns to look back on.
        member: the column that says whose row it is.
    """
    return frame.with_columns(
        nw.col(column).shift(1).over(member, order_by="valid_from").alias(f"previous_{column}") for column in columns
    )


def has_changed(column: str) -> nw.Expr:
    """Whether a known value differs from the one before it, or is the first that is known; never null."""
    value, previous = nw.col(column), nw.col(f"previous_{column}")
    return ~value.is_null() & (previous.is_null() | (value != previous).fill_null(False))


def with_intervals(frame: nw.LazyFrame[Any], member: str) -> nw.LazyFrame[Any]:
    """Make rows with a first day into versions.

    Args:
        frame: one row per member and valid_from.
        member: the column that says whose row it is.

    Returns:
        The rows with valid_to (the next row's valid_from, null for the last), is_current and version (from 1).
    """
    # A column of its own is summed: pandas would count the one that orders, and order by the counts.
    return (
        frame.with_columns(version=nw.lit(1))
        .with_columns(
            valid_to=nw.col("valid_from").shift(-1).over(member, order_by="valid_from"),
            version=nw.col("version").cum_sum().over(member, order_by="valid_from").cast(nw.Int32),
        )
        .with_columns(is_current=nw.col("valid_to").is_null())
    )


def with_missing(frame: nw.LazyFrame[Any], schema: pl.Schema) -> nw.LazyFrame[Any]:
    """The columns of a contract, in its order; those that the frame has not are null.

    Args:
        frame: any rows.
        schema: the columns of the contract.
    """
    known = frame.collect_schema().names()
    # pandas has no null of a type that is not Arrow's; its frames get the types of the contract when they are read.
    types = nw.Schema.from_polars(schema) if not frame.implementation.is_pandas() else dict.fromkeys(schema)
    return frame.select(
        nw.col(name) if name in known else nw.lit(None, dtype=dtype).alias(name) for name, dtype in types.items()
    )

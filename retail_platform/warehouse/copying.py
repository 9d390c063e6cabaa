"""COPY of a frame into a table of the warehouse, a batch at a time.

Lives here: how rows travel. Stays out: which table they go into, and what happens to it before and after (`load`,
`months`).
"""

from collections.abc import Sequence

import polars as pl
import psycopg
from psycopg import sql

BATCH_ROWS = 100_000
"""Rows of a lazy frame that are in memory at once, some 30 MB of facts."""

COPY_ROWS = 10_000
"""Rows per message of a COPY: small enough that writing text here and reading it there overlap."""

COPY_TIMES = "%Y-%m-%d %H:%M:%S%.f"
"""Times as text, UTC where they have a zone: read in two thirds of the time of the ISO form with zone and zeros."""


def copy_rows(
    connection: psycopg.Connection,
    frame: pl.LazyFrame,
    target: sql.Identifier,
    columns: Sequence[str],
) -> int:
    """Append the rows of a frame to a table, never more than a few batches in memory.

    Args:
        connection: in a transaction whose time zone is UTC.
        frame: with at least the columns.
        target: the table.
        columns: what to write, by the same name in both.

    Returns:
        The number of rows.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(target, names)
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in frame.select(columns).collect_batches(chunk_size=BATCH_ROWS):
            count += batch.height
            for rows in batch.iter_slices(COPY_ROWS):
                copy.write(rows.write_csv(include_header=False, datetime_format=COPY_TIMES))
    return count

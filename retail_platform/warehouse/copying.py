"""COPY of a frame into a table of the warehouse, a batch at a time, in PostgreSQL's binary form.

Lives here: how rows travel. Stays out: which table they go into, and what happens to it before and after (`load`,
`months`).
"""

import polars as pl
import psycopg
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from retail_platform.contracts import Table
from retail_platform.warehouse.tables import warehouse_columns

BATCH_ROWS = 100_000
"""Rows of a lazy frame that are in memory at once, some 30 MB of facts."""

COPY_ROWS = 10_000
"""Rows per message of a COPY: small enough that writing them here and reading them there overlap."""


def copy_rows(
    connection: psycopg.Connection,
    frame: pl.LazyFrame,
    target: sql.Identifier,
    table: Table,
    *,
    is_frozen: bool = False,
) -> int:
    """Append the rows of a frame to a table, never more than a few batches in memory.

    Args:
        connection: in a transaction.
        frame: with at least the columns that the gold table has in the warehouse, of the contract's types.
        target: the table to fill, which has these columns.
        table: the gold table that the rows are of.
        is_frozen: whether the rows are written as if vacuumed, which spares the server writing each page twice; only
            into a table that the transaction has made.

    Returns:
        The number of rows.
    """
    columns = warehouse_columns(table)
    rows = frame.select(_encodable(table, name) for name in columns)
    encoder = ArrowToPostgresBinaryEncoder(pl.DataFrame(schema=rows.collect_schema()).to_arrow().schema)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin (format binary, freeze {})").format(target, names, is_frozen)
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(encoder.write_header())
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS):
            count += batch.height
            for part in batch.iter_slices(COPY_ROWS):
                for encoded in part.to_arrow().to_batches():
                    copy.write(encoder.write_batch(encoded))
        copy.write(encoder.finish())
    return count


def _encodable(table: Table, name: str) -> pl.Expr:
    """A column as the encoder takes it: a UUID travels as its 16 bytes."""
    if table.postgres_types[name] == "uuid":
        return pl.col(name).str.replace_all("-", "", literal=True).str.decode("hex")
    return pl.col(name)

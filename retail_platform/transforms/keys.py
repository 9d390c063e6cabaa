"""Surrogate keys and line ids: one hash function outside the engines, so that every engine gives the same keys."""

from collections.abc import Sequence

import duckdb
import polars as pl

UNKNOWN_KEY = -1
"""The unknown member of a dimension (a guest, an unknown country)."""


def surrogate_keys(frame: pl.DataFrame, parts: Sequence[str], name: str) -> pl.DataFrame:
    """Add the surrogate key of a natural key.

    Args:
        frame: the rows.
        parts: the columns of the natural key, in order; their text forms are hashed, null apart from every text.
        name: the name of the new column.

    Returns:
        The frame in its order with `name`: the first 63 bits of SHA-256 over the length-prefixed parts, as Int64.
    """
    return frame.with_columns(_digests(frame, parts, "('0x' || d[1:16])::ubigint >> 1", name).cast(pl.Int64))


def line_ids(frame: pl.DataFrame, parts: Sequence[str], name: str) -> pl.DataFrame:
    """Add a UUID made from a row's values.

    Args:
        frame: the rows.
        parts: the columns whose text forms make the id.
        name: the name of the new column.

    Returns:
        The frame in its order with `name`: the first 128 bits of SHA-256 over the length-prefixed parts as UUID text
        (version 8, RFC 9562: custom).
    """
    sql = "d[1:8] || '-' || d[9:12] || '-8' || d[14:16] || '-a' || d[18:20] || '-' || d[21:32]"
    return frame.with_columns(_digests(frame, parts, sql, name))


def _digests(frame: pl.DataFrame, parts: Sequence[str], sql: str, name: str) -> pl.Series:
    """One value per row of `frame`, in order: `sql` over d, the hexadecimal SHA-256 of the row's parts."""
    source = frame.select(pl.col(part).cast(pl.String).alias(f"p{i}") for i, part in enumerate(parts))
    prefixed = (f"coalesce(octet_length(encode(p{i})) || ':' || p{i}, '-')" for i in range(len(parts)))
    with duckdb.connect() as connection:
        connection.register("source", source.to_arrow())
        query = f"select {sql} as v from (select sha256({' || '.join(prefixed)}) as d from source)"  # noqa: S608 - from our own names
        digests: pl.DataFrame = connection.sql(query).pl()
    return digests.to_series().alias(name)

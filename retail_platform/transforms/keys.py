"""Surrogate keys and line ids: one hash function outside the engines, so that every engine gives the same keys."""

from collections.abc import Sequence

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
    head = _digests(frame, parts).str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    return frame.with_columns((head // 2).cast(pl.Int64).alias(name))


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
    digest = pl.col("digest").str
    pieces = (
        digest.slice(0, 8),
        pl.lit("-"),
        digest.slice(8, 4),
        pl.lit("-8"),
        digest.slice(13, 3),
        pl.lit("-a"),
        digest.slice(17, 3),
        pl.lit("-"),
        digest.slice(20, 12),
    )
    ids = _digests(frame, parts).to_frame("digest").select(pl.concat_str(pieces))
    return frame.with_columns(ids.to_series().alias(name))


def _digests(frame: pl.DataFrame, parts: Sequence[str]) -> pl.Series:
    """The hexadecimal SHA-256 of each row's parts, in order; parts become text by DuckDB's casts."""
    import duckdb  # a fifth of a second, which a load of the definitions need not pay

    source = frame.select(pl.col(part).alias(f"p{i}") for i, part in enumerate(parts))
    texts = (f"p{i}::varchar" for i in range(len(parts)))
    prefixed = " || ".join(f"coalesce(strlen({text}) || ':' || {text}, '-')" for text in texts)
    with duckdb.connect() as connection:
        connection.register("source", source.to_arrow())
        digests: pl.DataFrame = connection.sql(f"select sha256({prefixed}) from source").pl()  # noqa: S608 - our names
    return digests.to_series()

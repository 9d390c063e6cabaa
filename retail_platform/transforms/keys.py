"""Surrogate keys and line ids: one hash over one text form of values, the same on every engine.

Narwhals has no hash. DuckDB and Spark have SHA-256 and hash their own rows; rows of Polars and pandas are hashed by
DuckDB over Arrow, in this process. The text forms are DuckDB's casts, which Spark's are equal to for the types of the
keys: whole numbers, decimals with all their places, days and times (`YYYY-MM-DD HH:MM:SS`, then a fraction without
trailing zeros). Add an engine to `_hashed`; docs/decisions/0017 says why it is so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import narwhals as nw
import polars as pl

UNKNOWN_KEY = -1
"""The unknown member of a dimension (a guest, an unknown country)."""

Frame = TypeVar("Frame", pl.DataFrame, nw.LazyFrame[Any])


class _Dialect(NamedTuple):
    """What engines with SHA-256 call it: expressions over `{}`.

    Attributes:
        size: bytes of a text.
        joined: texts one after the other, nulls left out.
        digest: hexadecimal SHA-256 of a text.
        number: the first 63 bits of a digest.
    """

    size: str
    joined: str
    digest: str
    number: str


_DUCKDB = _Dialect(
    "strlen({})", "concat({})", "sha256({})", "cast(cast('0x' || substr({}, 1, 16) as ubigint) // 2 as bigint)"
)
_SPARK = _Dialect(
    "octet_length({})",
    "concat_ws('', {})",
    "sha2({}, 256)",
    "cast(cast(conv(substr({}, 1, 16), 16, 10) as decimal(20, 0)) div 2 as bigint)",
)


def surrogate_keys(frame: Frame, parts: Sequence[str], name: str) -> Frame:
    """Add the surrogate key of a natural key.

    Args:
        frame: the rows.
        parts: the columns of the natural key, in order; their text forms are hashed, null apart from every text.
        name: the name of the new column.

    Returns:
        The rows (those of Polars in their order) with `name`: the first 63 bits of SHA-256 over the length-prefixed
        parts, as Int64.

    Raises:
        NotImplementedError: the frame is of an engine that is not known here.
    """
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(_by_duckdb(parts, pl.Int64).alias(name))
    return _hashed(frame, parts, name, pl.Int64)


def line_ids(frame: Frame, parts: Sequence[str], name: str) -> Frame:
    """Add a UUID made from a row's values.

    Args:
        frame: the rows.
        parts: the columns whose text forms make the id.
        name: the name of the new column.

    Returns:
        The rows (those of Polars in their order) with `name`: the first 128 bits of SHA-256 over the length-prefixed
        parts as UUID text (version 8, RFC 9562: custom).

    Raises:
        NotImplementedError: the frame is of an engine that is not known here.
    """
    if isinstance(frame, pl.DataFrame):
        with_ids: pl.DataFrame = line_ids(nw.from_native(frame.lazy()), parts, name).to_native().collect()
        return with_ids
    digest = nw.col(name).str
    pieces = (
        digest.slice(0, 8),
        nw.lit("-"),
        digest.slice(8, 4),
        nw.lit("-8"),
        digest.slice(13, 3),
        nw.lit("-a"),
        digest.slice(17, 3),
        nw.lit("-"),
        digest.slice(20, 12),
    )
    return _hashed(frame, parts, name, pl.String).with_columns(nw.concat_str(*pieces).alias(name))


def _hashed(frame: nw.LazyFrame[Any], parts: Sequence[str], name: str, dtype: type[pl.DataType]) -> nw.LazyFrame[Any]:
    """Add the key (Int64) or the hexadecimal digest (String), by the engine that holds the rows or beside it."""
    engine, rows = frame.implementation, frame.to_native()
    if engine.is_polars():
        rows = rows.with_columns(_by_duckdb(parts, dtype).alias(name))
    elif engine.is_pandas():
        held = pl.DataFrame(nw.from_native(rows[list(parts)], eager_only=True).to_arrow())
        hashes = held.select(_by_duckdb(parts, dtype)).to_series().to_list()
        rows = rows.assign(**{name: hashes}).astype(
            {name: "string[pyarrow]" if dtype is pl.String else "int64[pyarrow]"}
        )
    elif engine.is_duckdb():
        rows = rows.project(f"*, {_sql(_DUCKDB, parts, dtype)} as {name}")
    elif engine.is_pyspark():
        rows = rows.selectExpr("*", f"{_sql(_SPARK, parts, dtype)} as {name}")
    else:
        raise NotImplementedError(f"frames of {engine} get no keys yet; say in keys.py how that engine hashes")
    hashed: nw.LazyFrame[Any] = nw.from_native(rows).lazy()
    return hashed


def _sql(dialect: _Dialect, parts: Sequence[str], dtype: type[pl.DataType]) -> str:
    """The hash of the parts in the words of an engine."""
    texts = [f"cast({part} as string)" for part in parts]
    # One call: a chain of || makes a text a link, and takes half as long again.
    prefixed = ", ".join(f"coalesce({dialect.size.format(text)} || ':', '-'), {text}" for text in texts)
    digest = dialect.digest.format(dialect.joined.format(prefixed))
    return digest if dtype is pl.String else dialect.number.format(digest)


def _by_duckdb(parts: Sequence[str], dtype: type[pl.DataType]) -> pl.Expr:
    """The hashes as an expression of Polars, which hands its rows to DuckDB, batch by batch where it streams."""
    names = [f"p{i}" for i in range(len(parts))]
    # Lines repeat a natural key many times (hashing each takes twice as long), and no line twice.
    repeats = dtype is pl.Int64
    query = f"select {'*, ' if repeats else ''}{_sql(_DUCKDB, names, dtype)} as hash from source"  # noqa: S608 - our names

    def hashed(columns: Sequence[pl.Series]) -> pl.Series:
        import duckdb  # a fifth of a second, which a load of the definitions need not pay

        rows = pl.DataFrame([column.alias(name) for column, name in zip(columns, names, strict=True)])
        with duckdb.cursor() as connection:  # a database a batch costs a fifth more
            connection.register("source", (rows.unique() if repeats else rows).to_arrow())
            hashes: pl.DataFrame = connection.sql(query).pl()
        if repeats:
            hashes = rows.join(hashes, on=names, how="left", nulls_equal=True, maintain_order="left")
        return hashes["hash"]

    return pl.map_batches([*parts], hashed, return_dtype=dtype, is_elementwise=True)

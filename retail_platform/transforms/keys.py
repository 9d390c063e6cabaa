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
        digest: hexadecimal SHA-256 of a text.
        number: the first 63 bits of 64 in hexadecimal digits.
    """

    size: str
    digest: str
    number: str


_DUCKDB = _Dialect("strlen({})", "sha256({})", "cast(cast('0x' || {} as ubigint) // 2 as bigint)")
_SPARK = _Dialect("octet_length({})", "sha2({}, 256)", "cast(cast(conv({}, 16, 10) as decimal(20, 0)) div 2 as bigint)")
_UUID = (
    "substr({0}, 1, 8) || '-' || substr({0}, 9, 4) || '-8' || substr({0}, 14, 3) || '-a' || substr({0}, 18, 3) || '-' "
    "|| substr({0}, 21, 12)"
)
_DIGEST = "sha_256"


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
    return _hashed(frame, parts, name, pl.String)


def _hashed(frame: Frame, parts: Sequence[str], name: str, dtype: type[pl.DataType]) -> Frame:
    """Add a key (Int64) or an id (String), by the engine that holds the rows or beside it."""
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(_by_duckdb(parts, dtype).alias(name))
    rows: Any = frame.to_native()
    if frame.implementation.is_polars():
        rows = rows.with_columns(_by_duckdb(parts, dtype).alias(name))
    elif frame.implementation.is_pandas():
        read = pl.DataFrame(nw.from_native(rows[list(parts)], eager_only=True).to_arrow())
        values = read.select(_by_duckdb(parts, dtype)).to_series().to_list()
        rows = rows.assign(**{name: values}).astype(
            {name: "string[pyarrow]" if dtype is pl.String else "int64[pyarrow]"}
        )
    elif frame.implementation.is_duckdb():
        digest, value = _sql(_DUCKDB, parts, dtype)
        rows = rows.project(f"*, {digest} as {_DIGEST}").project(f"* exclude ({_DIGEST}), {value} as {name}")
    elif frame.implementation.is_pyspark():
        digest, value = _sql(_SPARK, parts, dtype)
        rows = rows.selectExpr("*", f"{digest} as {_DIGEST}").selectExpr("*", f"{value} as {name}").drop(_DIGEST)
    else:
        raise NotImplementedError(f"frames of {frame.implementation} have no keys; say in keys.py how they hash")
    hashed: nw.LazyFrame[Any] = nw.from_native(rows).lazy()
    return hashed


def _sql(dialect: _Dialect, parts: Sequence[str], dtype: type[pl.DataType]) -> tuple[str, str]:
    """The digest of the parts, and from it (under `_DIGEST`) the key or the id."""
    texts = [f"cast({part} as string)" for part in parts]
    prefixed = " || ".join(f"coalesce({dialect.size.format(text)} || ':' || {text}, '-')" for text in texts)
    value = _UUID.format(_DIGEST) if dtype is pl.String else dialect.number.format(f"substr({_DIGEST}, 1, 16)")
    return dialect.digest.format(prefixed), value


def _by_duckdb(parts: Sequence[str], dtype: type[pl.DataType]) -> pl.Expr:
    """The keys or ids as an expression of Polars, which hands its rows to DuckDB, batch by batch where it streams."""
    import duckdb  # a fifth of a second, which a load of the definitions need not pay

    names = [f"p{i}" for i in range(len(parts))]
    digest, value = _sql(_DUCKDB, names, dtype)

    def hashed(rows: pl.Series) -> pl.Series:
        with duckdb.connect() as connection:
            connection.register("source", rows.struct.unnest().to_arrow())
            query = f"select {value} from (select {digest} as {_DIGEST} from source)"  # noqa: S608 - our names
            hashes: pl.DataFrame = connection.sql(query).pl()
        return hashes.to_series()

    renamed = (pl.col(part).alias(name) for part, name in zip(parts, names, strict=True))
    return pl.struct(renamed).map_batches(hashed, return_dtype=dtype, is_elementwise=True)

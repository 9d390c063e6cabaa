"""What a table contract is, and what is derived from one: PostgreSQL types, column descriptions, empty frames.

Add a table by adding a contract and a `Table` to this package; a column's type, nullability, description and rules are
said there and nowhere else. Reading and writing tables stays out (`lakehouse/`, `warehouse/`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Annotated

import polars as pl


class _Absent(MetaPathFinder):
    """Says of packages that they are not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self.names:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


@contextmanager
def _without(*names: str) -> Iterator[None]:
    finder = _Absent(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


# Contracts are of polars frames. Where pandas is installed pandera imports it, and pyspark with it: 3 s each start. It
# looks for pandas and hypothesis with its first check, once, so that one is made here.
with _without("pandas", "pyspark", "hypothesis"):
    import pandera.polars as pa

    pa.DataFrameSchema({"found": pa.Column(pl.Int64, pa.Check.ge(0))}).validate(pl.DataFrame({"found": [0]}))

Money = Annotated[pl.Decimal, 18, 4]
"""An amount in the shop's currency, 4 decimal places."""
Percentage = Annotated[pl.Decimal, 9, 4]
"""A percentage (12.5 is 12.5 %), 4 decimal places."""
LocalTime = Annotated[pl.Datetime, "us", None]
"""Wall-clock time of the shop, without a zone (the source gives none)."""
Instant = Annotated[pl.Datetime, "us", "UTC"]
"""A moment in UTC."""

_POSTGRES_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "text",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.Float64: "double precision",
    pl.Boolean: "boolean",
    pl.Date: "date",
}


class Contract(pa.DataFrameModel):
    """The columns of one table: types, nullability, descriptions and rules, in order."""

    class Config:
        strict = True
        ordered = True


@dataclass(frozen=True)
class Table:
    """One table of the lake, named and described.

    Attributes:
        layer: the layer (also the folder in the lake), for example `silver`.
        name: the table's name, for example `sales`.
        contract: its columns.
        key: the columns that identify a row (the grain).
        day: the column that day ranges are overwritten by, or None for a table without days.
        month: the column the Delta table is partitioned by on disk, or None.
        references: column -> `table.column` in the same layer, the foreign keys of the warehouse.
    """

    layer: str
    name: str
    contract: type[Contract]
    key: tuple[str, ...]
    day: str | None = None
    month: str | None = None
    references: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def schema(self) -> pl.Schema:
        """The columns and their Polars types, in order."""
        return pl.Schema({name: column.dtype.type for name, column in self._columns.items()})

    @property
    def descriptions(self) -> dict[str, str]:
        """Column name -> what it means."""
        return {name: column.description or "" for name, column in self._columns.items()}

    @property
    def nullable(self) -> dict[str, bool]:
        """Column name -> whether it may be null."""
        return {name: bool(column.nullable) for name, column in self._columns.items()}

    @property
    def postgres_types(self) -> dict[str, str]:
        """Column name -> PostgreSQL type."""
        return {name: postgres_type(name, dtype) for name, dtype in self.schema.items()}

    def empty(self) -> pl.DataFrame:
        """A frame of this table without rows."""
        return self.schema.to_frame()

    @property
    def _columns(self) -> dict[str, pa.Column]:
        return dict(self.contract.to_schema().columns)


def postgres_type(column: str, dtype: pl.DataType) -> str:
    """The PostgreSQL type of a column.

    Args:
        column: its name, for the error; a column `sale_id` is a uuid.
        dtype: its Polars type.

    Raises:
        TypeError: the type has no counterpart yet; add it to `_POSTGRES_TYPES`.
    """
    if column == "sale_id":
        return "uuid"
    if isinstance(dtype, pl.Decimal):
        return f"numeric({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "timestamp with time zone" if dtype.time_zone else "timestamp without time zone"
    if type(dtype) not in _POSTGRES_TYPES:
        raise TypeError(f"column {column!r} has type {dtype}, which has no PostgreSQL type; add it to _POSTGRES_TYPES")
    return _POSTGRES_TYPES[type(dtype)]

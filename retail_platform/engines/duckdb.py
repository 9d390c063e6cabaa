"""DuckDB: the engine of days that do not fit in memory; what does not, it writes to disk for a while."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import narwhals as nw
import polars as pl
import psutil  # type: ignore[import-untyped]
from typing_extensions import override

from retail_platform.contracts import Table
from retail_platform.engines.base import Engine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation


class DuckDBEngine(Engine):
    """Relations of one connection of its own, which live as long as it.

    Args:
        memory: bytes it may use before it spills.
        spill: the folder for what it spills; made when missing, and emptied of what killed processes left there.
    """

    name = "duckdb"

    def __init__(self, memory: int, spill: Path) -> None:
        import duckdb  # a fifth of a second, which other engines need not pay

        spill.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(spill)
        self._spill = spill / f"{os.getpid()}-{uuid4().hex}"
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{memory}B",
                "temp_directory": str(self._spill),
                # Rows have no order in the lake; to keep one takes memory.
                "preserve_insertion_order": False,
            }
        )

    @override
    def close(self) -> None:
        self._connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    @override
    def scan(
        self,
        lake: Lake,
        table: Table,
        days: Days | Sequence[Days] | None = None,
        *,
        undated: bool = False,
        version: int | None = None,
    ) -> nw.LazyFrame[Any]:
        files = lake.files(table, days, version, undated=undated)
        if not files:
            return self.lazy(table.empty())
        paths = [str(file.path) for file in files]
        # The month is in the folder's name alone. A file of before a column was added does not have it.
        found = self._connection.read_parquet(paths, hive_partitioning=bool(table.month), union_by_name=True)
        rows = found if days is None else found.filter(_in_days(table, days, undated))
        return nw.from_native(rows.project(", ".join(self._as_in_contract(table, found))))

    @override
    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        return nw.from_native(self._connection.from_arrow(frame.to_arrow()))

    @override
    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        name = f"persisted_{uuid4().hex}"
        frame.to_native().create(name)
        return nw.from_native(self._connection.table(name))

    @override
    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema | None = None) -> pl.DataFrame:
        wanted = frame if schema is None else frame.select(*schema)
        collected: pl.DataFrame = wanted.to_native().pl()
        return collected if schema is None else collected.cast(schema)

    def _as_in_contract(self, table: Table, found: "DuckDBPyRelation") -> list[str]:
        """The table's columns as SQL: in order, of the contract's types, null where no file has the column."""
        wanted = self._connection.from_arrow(table.empty().to_arrow())
        present = dict(zip(found.columns, map(str, found.types), strict=True))
        return [
            f'"{name}"' if present.get(name) == str(kind) else f'cast({_or_null(name, present)} as {kind}) as "{name}"'
            for name, kind in zip(wanted.columns, wanted.types, strict=True)
        ]


def _or_null(name: str, present: dict[str, str]) -> str:
    return f'"{name}"' if name in present else "null"


def _in_days(table: Table, days: Days | Sequence[Days], undated: bool) -> str:
    """A condition on the day column; the files of other months are left out before."""
    ranges = [days] if isinstance(days, Days) else days
    parts = [f"({table.day} >= date '{start}' and {table.day} < date '{end}')" for start, end in ranges]
    return " or ".join([*parts, *([f"{table.day} is null"] if undated else [])]) or "false"


def _remove_left_behind(spill: Path) -> None:
    """Remove what processes that are gone have spilled."""
    for folder in spill.glob("*-*"):
        if not psutil.pid_exists(int(folder.name.partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)

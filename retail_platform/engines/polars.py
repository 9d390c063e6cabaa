"""Polars: the engine of what fits in memory."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl
from typing_extensions import override

from retail_platform.contracts import Table
from retail_platform.engines.base import Engine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake


class PolarsEngine(Engine):
    """Lazy frames of Polars, in this process."""

    name = "polars"

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
        dated = lake.scan(table, days, version)
        if days is None or not undated:
            return nw.from_native(dated)
        return nw.from_native(pl.concat([dated, lake.scan_undated(table, version)]))

    @override
    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        return nw.from_native(frame.lazy())

    @override
    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        return self.lazy(frame.to_native().collect())

    @override
    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema | None = None) -> pl.DataFrame:
        collected: pl.DataFrame = frame.to_native().collect()
        return collected if schema is None else collected.select(list(schema)).cast(schema)

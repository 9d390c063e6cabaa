"""Polars: the engine of what fits in memory."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.contracts import Table
from retail_platform.engines.base import Engine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake


class PolarsEngine(Engine):
    """Lazy frames of Polars, in this process."""

    name = "polars"

    def scan(
        self,
        lake: Lake,
        table: Table,
        days: Days | Sequence[Days] | None = None,
        *,
        undated: bool = False,
        version: int | None = None,
    ) -> nw.LazyFrame[Any]:
        frames = [lake.scan(table, days, version)] + ([lake.scan_undated(table)] if undated else [])
        return nw.from_native(pl.concat(frames))

    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        return nw.from_native(frame.lazy())

    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        return self.lazy(frame.to_native().collect())

    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema) -> pl.DataFrame:
        collected: pl.DataFrame = frame.select(*schema).to_native().collect()
        return collected.cast(schema)

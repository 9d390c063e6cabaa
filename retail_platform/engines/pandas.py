"""pandas, on Arrow's types: for those whose own tools take its frames. It is never chosen by itself."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
from typing_extensions import override

from retail_platform.contracts import Table
from retail_platform.engines.base import Engine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake


class PandasEngine(Engine):
    """Frames of pandas in this process, whole: lazy in name only."""

    name = "pandas"

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
        rows = lake.scan(table, days, version)
        if days is not None and undated:
            rows = pl.concat([rows, lake.scan_undated(table, version)])
        return self.lazy(rows.collect())

    @override
    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        arrow = frame.to_arrow()
        # Texts joined in pandas must not be of Arrow's large or viewing kind.
        texts = [field.with_type(pa.string()) if _is_text(field.type) else field for field in arrow.schema]
        pandas = arrow.cast(pa.schema(texts)).to_pandas(types_mapper=pd.ArrowDtype)
        whole: nw.DataFrame[Any] = nw.from_native(pandas, eager_only=True)
        return whole.lazy()

    @override
    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        return frame

    @override
    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema | None = None) -> pl.DataFrame:
        whole = frame.collect()
        # Arrow takes the index of pandas along as one more column.
        collected = pl.DataFrame(whole.to_arrow()).select(whole.columns)
        return collected if schema is None else collected.select(list(schema)).cast(schema)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string_view(kind))

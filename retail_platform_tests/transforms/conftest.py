"""Tests of transformations run on several engines and expect the same of each."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from retail_platform.engines.spark import LOCAL, SparkEngine

Engine = Callable[[pl.DataFrame], nw.LazyFrame[Any]]
"""Hands a frame to an engine, unevaluated."""


def on_polars(frame: pl.DataFrame) -> nw.LazyFrame[Any]:
    return nw.from_native(frame.lazy())


def on_pandas(frame: pl.DataFrame) -> nw.LazyFrame[Any]:
    import pandas as pd

    arrow = frame.to_arrow()
    views = (pa.types.is_large_string, pa.types.is_string_view)
    fields = [
        field.with_type(pa.string()) if any(each(field.type) for each in views) else field for field in arrow.schema
    ]
    return nw.from_native(arrow.cast(pa.schema(fields)).to_pandas(types_mapper=pd.ArrowDtype), eager_only=True).lazy()


@pytest.fixture
def on_duckdb() -> Iterator[Engine]:
    with duckdb.connect() as connection:
        yield lambda frame: nw.from_native(connection.from_arrow(frame.to_arrow()))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkEngine]:
    """A local session; 7 seconds, once in the process that asks for it."""
    with SparkEngine(LOCAL, memory=2 * 2**30) as engine:
        # Frames of tests are small: one task a query.
        engine.session.conf.set("spark.sql.shuffle.partitions", "1")
        yield engine


@pytest.fixture(params=["polars", "duckdb"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The two engines that cost a test nothing; test_parity.py compares all four."""
    hands: Mapping[str, Engine] = {"polars": on_polars, "duckdb": request.getfixturevalue("on_duckdb")}
    return hands[request.param]


@pytest.fixture(params=["duckdb", "pandas", "spark"])
def other_engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine that is compared with Polars."""
    if request.param == "pandas":
        return on_pandas
    found = request.getfixturevalue({"duckdb": "on_duckdb"}.get(request.param, request.param))
    return found.lazy if isinstance(found, SparkEngine) else found

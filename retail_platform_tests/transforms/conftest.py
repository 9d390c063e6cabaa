"""Tests of transformations run on several engines and expect the same of each."""

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest

Engine = Callable[[pl.DataFrame], nw.LazyFrame[Any]]
"""Hands a frame to an engine, unevaluated."""


@pytest.fixture(params=["polars", "duckdb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "polars":
        yield lambda frame: nw.from_native(frame.lazy())
        return
    with duckdb.connect() as connection:
        yield lambda frame: nw.from_native(connection.from_arrow(frame.to_arrow()))

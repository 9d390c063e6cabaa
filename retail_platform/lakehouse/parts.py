"""Rows in parts that fit memory: all rows of one member (a customer, a product) are in the same part.

Written aside in one pass and read back part by part, so that time grows with the rows as they do. What is done with
a part stays out (`transforms/`).
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

PART_ROWS = 2_500_000
"""Rows of a part, about. Members are of unequal size: of a hundred million lines, cut by product into parts of 4
million, the largest took 4 GiB at work."""


@contextmanager
def in_parts(rows: pl.LazyFrame, by: str, folder: Path, row_count: int) -> Iterator[list[pl.LazyFrame]]:
    """Cut rows into parts by the values of a column.

    Args:
        rows: any rows.
        by: the column; rows with equal values, or with none, are in one part.
        folder: where the parts are meanwhile; what is in it is deleted, before and after.
        row_count: how many rows there are, about. When one part can hold them nothing is written.

    Yields:
        The parts, in no order; one that has no rows is not there, unless it is the only one.
    """
    count = -(-row_count // PART_ROWS)
    if count <= 1:
        yield [rows]
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        number = pl.col(by).hash(seed=0) % count
        rows.sink_parquet(pl.PartitionBy(folder, key=number.alias("part"), include_key=False), mkdir=True)
        yield [pl.scan_parquet(part) for part in sorted(folder.iterdir())]
    finally:
        shutil.rmtree(folder, ignore_errors=True)

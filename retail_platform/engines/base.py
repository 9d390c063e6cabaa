"""What an engine is: how a table of the lake gets into its frames, and how its rows come back.

A transformation takes and gives Narwhals frames and does not know which engine it is on. Add an engine by adding a
module beside this one and its name to `choose.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import narwhals as nw
import polars as pl

from retail_platform.contracts import Table
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake


class EngineError(Exception):
    """An engine is not installed, cannot be reached or cannot do what was asked; says what to do."""


class Engine(ABC):
    """One library with what it holds open, as a context manager.

    Frames of one engine are joined with frames of the same one only; `lazy` hands it what was made elsewhere.
    """

    name: ClassVar[str]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back memory, files and processes; frames of this engine are dead afterwards."""
        return

    @abstractmethod
    def scan(
        self,
        lake: Lake,
        table: Table,
        days: Days | Sequence[Days] | None = None,
        *,
        undated: bool = False,
        version: int | None = None,
    ) -> nw.LazyFrame[Any]:
        """A table of the lake, or the rows of some days, lazily; only the months that hold them are opened.

        Args:
            lake: where the table is.
            table: what to read; its columns come in the contract's order and types.
            days: one or more day ranges; None reads all, rows without a day included.
            undated: whether the rows without a day come along with those of `days`.
            version: an older Delta version.
        """

    @abstractmethod
    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        """Hand over rows that are in memory: a dimension, rates, the ledger's deliveries."""

    @abstractmethod
    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The same rows, computed once: for a frame that is used more than once."""

    @abstractmethod
    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema | None = None) -> pl.DataFrame:
        """Bring the rows into this process.

        Args:
            frame: a frame of this engine.
            schema: the columns and their types; engines differ in how wide a sum is, so that every column is cast.
                None takes the columns as the engine has them.

        Raises:
            polars.exceptions.InvalidOperationError: a value does not fit the type.
        """

    def stage(
        self,
        frame: nw.LazyFrame[Any],
        lake: Lake,
        table: Table,
        days: Sequence[Days],
        *,
        undated: bool = False,
    ) -> "Staged":
        """Compute the rows of whole days without showing them yet.

        Args:
            frame: exactly the rows of those days (and the undated ones, where said), in the contract's columns.
            lake: where the table is.
            table: a table with a day column.
            days: the day ranges.
            undated: whether the rows without a day are replaced too.
        """
        return Staged(lake, table, days, undated, self.collect(frame, table.schema))


class Staged:
    """Rows of whole days that are made and not visible yet: they are looked at, then committed."""

    def __init__(self, lake: Lake, table: Table, days: Sequence[Days], undated: bool, rows: pl.DataFrame) -> None:
        self._lake, self._table, self._days, self._undated, self._rows = lake, table, days, undated, rows

    def rows(self, days: Sequence[Days] | None = None, *, undated: bool = False) -> pl.DataFrame:
        """The rows, or those of some of the days: a part that fits memory where an engine made more than that.

        Args:
            days: the days wanted; None takes all rows.
            undated: whether the rows without a day come along with those of `days`.
        """
        if days is None:
            return self._rows
        day = pl.col(str(self._table.day))
        parts = (day.is_between(*each, closed="left") for each in days)
        return self._rows.filter(pl.any_horizontal(day.is_null() & undated, *parts))

    def commit(self, consumed: Mapping[str, int] | None = None) -> int:
        """Show the rows, in one commit; the new Delta version.

        Args:
            consumed: the `Lake.position` of every source that the table's rows are made from now.
        """
        return self._lake.replace_days(self._table, self._rows, self._days, consumed, undated=self._undated)

"""Which engine a step runs on, and in which windows of days: by the memory its rows take and the memory at hand.

`auto` takes Polars while one day (or month) fits in memory, in as many windows as that takes; DuckDB, which spills to
disk, where one does not; Spark where a cluster is named and the rows are more than one machine should do. pandas is
taken only when it is asked for. Add an engine by adding its name to the setting, its installation to `INSTALL` and a
line to `Engines.open`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple, get_args

from retail_platform.engines.base import Engine, EngineError
from retail_platform.engines.memory import Memory, in_words, memory_at_hand
from retail_platform.engines.windows import RowsByDay, Window, windows_of
from retail_platform.lakehouse.days import Days
from retail_platform.settings import EngineName, Settings

INSTALL = {
    "polars": ("polars", "pip install polars"),
    "duckdb": ("duckdb", "pip install duckdb"),
    "pandas": ("pandas", "pip install pandas pyarrow"),
    "spark": ("pyspark", "pip install 'retail-platform[spark]' and Java 17"),
}
"""Engine -> the module it needs, and what brings it."""

MEMORY_SHARE = 0.8
"""Of the memory at hand that a step plans with: the footprints are measured, rows differ."""
WINDOW_BYTES = 4 * 2**30
"""A window takes no more than this, however much there is: other work on the machine needs memory too."""
SPARK_FROM_BYTES = 512 * 2**30
"""Working memory of all rows from which `auto` takes a cluster that is named."""
PANDAS_TIMES = 3
"""How many times Polars' memory pandas takes for the same step: each expression makes a whole column."""


class Footprint(NamedTuple):
    """Memory of a step in bytes a row, measured.

    Attributes:
        working: at the most while Polars makes the rows and they are checked.
        made: of a row that is made, in the process, on any engine.
    """

    working: int
    made: int


@dataclass(frozen=True)
class Choice:
    """The engine of a step.

    Attributes:
        name: the engine.
        reason: why, in plain words with the numbers.
        windows: the days it works on, in order.
        memory: bytes that the engine and what it makes may take.
    """

    name: str
    reason: str
    windows: tuple[Window, ...]
    memory: int

    @property
    def metadata(self) -> dict[str, Any]:
        """What a step tells of it."""
        several = {"windows": len(self.windows)} if len(self.windows) > 1 else {}
        return {"engine": self.name, "engine_reason": self.reason, **several}


class Engines:
    """The engines that a run may take.

    Args:
        settings: the platform.
        asked: the engine that the run asks for; None leaves it to the settings.
    """

    def __init__(self, settings: Settings, asked: EngineName | None = None) -> None:
        self._settings, self._asked = settings, asked or settings.engine

    def choose(self, footprint: Footprint, rows: RowsByDay, ranges: Sequence[Days] = (), *, by: str = "day") -> Choice:
        """The engine and the windows of a step.

        Args:
            footprint: what its rows take.
            rows: rows of each day of the ranges, under None those without a day; where a step is not cut by days, all.
            ranges: the days it works on.
            by: `month` for a step that works on whole months.

        Raises:
            EngineError: the engine is not installed; says what to install.
        """
        memory = memory_at_hand(self._settings.memory)
        name, why = self._named(footprint, rows, _budget(memory), by)
        _require_installed(name)
        return _choice(name, why, memory, footprint, rows, ranges, by)

    def copying(self, footprint: Footprint, rows: RowsByDay, ranges: Sequence[Days]) -> Choice:
        """Polars and the windows of a step that transforms nothing: it copies what landing has parsed."""
        memory = memory_at_hand(self._settings.memory)
        return _choice("polars", "rows are copied as they are", memory, footprint, rows, ranges, "day")

    def open(self, choice: Choice) -> Engine:
        """The engine of a choice.

        Raises:
            EngineError: it cannot be reached.
        """
        if choice.name == "polars":
            from retail_platform.engines.polars import PolarsEngine

            return PolarsEngine()
        if choice.name == "duckdb":
            from retail_platform.engines.duckdb import DuckDBEngine

            return DuckDBEngine(choice.memory // 2, self._settings.home / "spill")
        if choice.name == "pandas":
            from retail_platform.engines.pandas import PandasEngine

            return PandasEngine()
        if choice.name == "spark":
            from retail_platform.engines.spark import LOCAL, SparkEngine

            return SparkEngine(self._settings.spark_master or LOCAL, choice.memory // 2)
        raise EngineError(f"there is no engine {choice.name!r}; expected one of {', '.join(INSTALL)}")

    def _named(self, footprint: Footprint, rows: RowsByDay, budget: int, by: str) -> tuple[str, str]:
        """The engine's name, and the sentence that says why it is it."""
        if self._asked != "auto":
            return self._asked, f"{self._asked} was asked for"
        if self._settings.spark_master and sum(rows.values()) * footprint.working > SPARK_FROM_BYTES:
            return "spark", f"more than the {in_words(SPARK_FROM_BYTES)} that one machine should do"
        if max(_counts(rows, by), default=0) * footprint.working > budget:
            return "duckdb", f"a single {by} does not fit in memory, and DuckDB spills to disk"
        return "polars", "fits in memory"


def _budget(memory: Memory) -> int:
    return min(int(memory.size * MEMORY_SHARE), WINDOW_BYTES)


def _choice(
    name: str, why: str, memory: Memory, footprint: Footprint, rows: RowsByDay, ranges: Sequence[Days], by: str
) -> Choice:
    budget, count = _budget(memory), sum(rows.values())
    windows = _windows(windows_of(rows, ranges, max(budget // _a_row(name, footprint), 1), by=by), name)
    cut = f", in {len(windows)} windows of {by}s" if len(windows) > 1 else ""
    work = f"{count:,} rows at {footprint.working:,} bytes are {in_words(count * footprint.working)}"
    planned = f"{in_words(budget)} planned of {in_words(memory.size)} {memory.source}"
    return Choice(name, f"{why}: {work}; {planned}{cut}.", windows, budget)


def _counts(rows: RowsByDay, by: str) -> list[int]:
    """Rows of each day or month; those without a day are one."""
    counted: dict[Any, int] = {}
    for day, count in rows.items():
        unit = day.replace(day=1) if day is not None and by == "month" else day
        counted[unit] = counted.get(unit, 0) + count
    return list(counted.values())


def _a_row(name: str, footprint: Footprint) -> int:
    """Bytes of this process that a row takes on an engine; half the memory is DuckDB's own."""
    return {
        "polars": footprint.working,
        "pandas": PANDAS_TIMES * footprint.working,
        "duckdb": 2 * footprint.made,
        "spark": footprint.made,
    }[name]


def _windows(groups: Sequence[tuple[Days, ...]], name: str) -> tuple[Window, ...]:
    """Groups of days as windows; a cluster takes all days at once, and only what it made is looked at in parts."""
    if name == "spark":
        every = tuple(days for group in groups for days in group)
        return (Window(every, True, tuple(groups)),)
    return tuple(Window(group, number == len(groups), (group,)) for number, group in enumerate(groups, 1))


def _require_installed(name: str) -> None:
    module, install = INSTALL[name]
    if find_spec(module) is None:
        raise EngineError(
            f"the engine {name!r} was asked for, but {module} is not installed: {install}, or take another engine "
            f"(RETAIL_ENGINE, one of {', '.join(get_args(EngineName))})"
        )

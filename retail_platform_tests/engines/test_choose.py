from datetime import date
from pathlib import Path

import pytest

from retail_platform.engines import choose
from retail_platform.engines.base import EngineError
from retail_platform.engines.choose import MEMORY_SHARE, SPARK_FROM_BYTES, Engines, Footprint
from retail_platform.engines.duckdb import DuckDBEngine
from retail_platform.engines.polars import PolarsEngine
from retail_platform.lakehouse.days import Days
from retail_platform.settings import EngineName, Settings

JAN, FEB, MAR = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
RANGES = [Days(JAN, MAR)]
STEP = Footprint(working=1000, made=100)
MEMORY = 40_000_000
FITTING = int(MEMORY / 4 * MEMORY_SHARE) // STEP.working
"""Rows of a window: this process holds more than the setting, of which a fourth counts then."""


def engines(home: Path, engine: EngineName = "auto", master: str | None = None) -> Engines:
    return Engines(Settings(home=home, engine=engine, spark_master=master, memory=MEMORY))


def test_what_fits_runs_on_polars_in_one_window(tmp_path: Path) -> None:
    choice = engines(tmp_path).choose(STEP, {JAN: 100, None: 7}, RANGES)
    assert choice.name == "polars"
    assert [(window.days, window.is_last, window.parts) for window in choice.windows] == [
        ((Days(JAN, MAR),), True, ((Days(JAN, MAR),),))
    ]
    assert choice.metadata == {"engine": "polars", "engine_reason": choice.reason}
    assert "107 rows at 1,000 bytes" in choice.reason


def test_days_that_fit_one_by_one_run_on_polars_in_windows(tmp_path: Path) -> None:
    choice = engines(tmp_path).choose(STEP, {JAN: FITTING, FEB: FITTING}, RANGES)
    assert choice.name == "polars"
    assert [window.days for window in choice.windows] == [(Days(JAN, FEB),), (Days(FEB, MAR),)]
    assert [window.is_last for window in choice.windows] == [False, True]
    assert choice.metadata["windows"] == 2
    assert "in 2 windows of days" in choice.reason


def test_a_day_that_does_not_fit_runs_on_duckdb(tmp_path: Path) -> None:
    choice = engines(tmp_path).choose(STEP, {JAN: FITTING + 1}, RANGES)
    assert choice.name == "duckdb"
    assert "a single day does not fit" in choice.reason


def test_months_are_what_has_to_fit_where_a_step_works_on_months(tmp_path: Path) -> None:
    rows = {JAN: FITTING, date(2011, 1, 2): 1}
    assert engines(tmp_path).choose(STEP, rows, RANGES).name == "polars"
    assert engines(tmp_path).choose(STEP, rows, RANGES, by="month").name == "duckdb"


def test_spark_is_taken_where_a_cluster_is_named_and_one_machine_should_not(tmp_path: Path) -> None:
    rows = {JAN: SPARK_FROM_BYTES // STEP.working // 2, FEB: SPARK_FROM_BYTES // STEP.working // 2 + 1000}
    assert engines(tmp_path).choose(STEP, rows, RANGES).name == "duckdb"
    assert engines(tmp_path, master="spark://host:7077").choose(STEP, {JAN: 1}, RANGES).name == "polars"
    choice = engines(tmp_path, master="spark://host:7077").choose(STEP, rows, RANGES)
    assert choice.name == "spark"
    (window,) = choice.windows
    assert window.days == (Days(JAN, FEB), Days(FEB, MAR))
    assert window.parts == ((Days(JAN, FEB),), (Days(FEB, MAR),))


@pytest.mark.parametrize("name", ["polars", "duckdb", "pandas", "spark"])
def test_an_engine_that_was_asked_for_is_taken(tmp_path: Path, name: EngineName) -> None:
    for asked in (engines(tmp_path, name), Engines(Settings(home=tmp_path, engine="polars"), name)):
        choice = asked.choose(STEP, {JAN: 1}, RANGES)
        assert choice.name == name
        assert choice.reason.startswith(f"{name} was asked for")


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choose.INSTALL, "spark", ("no_such_module", "pip install 'retail-platform[spark]'"))
    with pytest.raises(EngineError, match=r"no_such_module is not installed: pip install 'retail-platform\[spark\]'"):
        engines(tmp_path, "spark").choose(STEP, {JAN: 1}, RANGES)


def test_copying_is_polars_whatever_was_asked_for(tmp_path: Path) -> None:
    choice = engines(tmp_path, "duckdb").copying(STEP, {JAN: FITTING, FEB: FITTING}, RANGES)
    assert (choice.name, len(choice.windows)) == ("polars", 2)


def test_a_choice_is_opened(tmp_path: Path) -> None:
    for name, kind in (("polars", PolarsEngine), ("duckdb", DuckDBEngine)):
        asked = engines(tmp_path, name)
        with asked.open(asked.choose(STEP, {JAN: 1}, RANGES)) as engine:
            assert isinstance(engine, kind)
            assert engine.name == name

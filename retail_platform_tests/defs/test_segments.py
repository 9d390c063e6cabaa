"""The history of segments on a lake of its own: when it is made again, and which months it writes."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts import CUSTOMER_MONTHS, CUSTOMER_SEGMENT_MONTH, DIM_CUSTOMER, SILVER_SALES
from retail_platform.defs import closed
from retail_platform.defs.segments import customer_segment_month
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.customers import customer_dimension, customer_months, customer_versions
from retail_platform_tests.transforms.frames import silver_lines

JANUARY, FEBRUARY, MARCH, APRIL = (date(2011, month, 1) for month in range(1, 5))
ENDS = [date(2011, 1, 31), date(2011, 2, 28), date(2011, 3, 31)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Customers a and b bought in January, b in February, and b in March, which is open."""
    lake = Lake(tmp_path)
    sell(lake, JANUARY, "a", "b")
    sell(lake, FEBRUARY, "b")
    sell(lake, MARCH, "b")
    return lake


def sell(lake: Lake, month: date, *customers: str) -> None:
    """Put what the customers bought on the first of a month in place of what the month held."""
    rows = [{"sale_date": month, "invoice_no": f"{month:%m}{name}", "customer_id": name} for name in customers]
    lines = silver_lines(*rows).with_columns(
        pl.col("source_file", "delivery_id").fill_null("f"), pl.col("source_row").fill_null(0)
    )
    lake.replace_months(SILVER_SALES, lines, [month])
    summary = customer_months(nw.from_native(lines.lazy())).to_native().collect()
    lake.replace_months(CUSTOMER_MONTHS, summary, [month])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def judge(lake: Lake) -> pl.DataFrame:
    months = nw.from_native(lake.scan(CUSTOMER_MONTHS))
    dimension: pl.DataFrame = (
        customer_dimension(customer_versions(months, lake.months(SILVER_SALES)[-1])).to_native().collect()
    )
    return dimension


def run(
    lake: Lake, instance: dg.DagsterInstance, versions: pl.DataFrame | None = None
) -> tuple[dict[str, Any], dict[str, bool]]:
    """Materialise the asset beside the customers as judged, or these: its metadata, and what its checks say."""
    lake.replace(DIM_CUSTOMER, judge(lake) if versions is None else versions)
    result = dg.materialize([customer_segment_month], resources={"lake": lake}, instance=instance, raise_on_error=False)
    checks = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    events = result.asset_materializations_for_node("customer_segment_month")
    return {name: each.value for name, each in events[0].metadata.items()} if events else {}, checks


def history(lake: Lake) -> list[tuple[Any, ...]]:
    rows = lake.scan(CUSTOMER_SEGMENT_MONTH).select("as_of_date", "customer_id", "order_count")
    return sorted(rows.collect().rows())


def test_it_is_made_again_when_a_month_closes_or_a_closed_one_changes(lake: Lake, instance: dg.DagsterInstance) -> None:
    first, checks = run(lake, instance)
    assert all(checks.values())
    assert (first["made_again"], first["months_written"], first["rows_written"]) == (True, 2, 4)
    assert {"segment_migration", "segment_sizes"} <= first.keys()
    assert history(lake) == [(ENDS[0], "a", 1), (ENDS[0], "b", 1), (ENDS[1], "a", 0), (ENDS[1], "b", 1)]

    sell(lake, MARCH, "b", "c")
    ordinary, _ = run(lake, instance)
    assert (ordinary["made_again"], ordinary["months_written"]) == (False, 0)
    assert all(ordinary[name] == first[name] for name in ("segment_migration", "segment_sizes"))
    assert ordinary["delta_version"] == first["delta_version"]

    sell(lake, APRIL, "a")
    closed, _ = run(lake, instance)
    assert (closed["made_again"], closed["months_written"], closed["rows_written"]) == (True, 1, 3)

    sell(lake, FEBRUARY, "b", "d")
    late, _ = run(lake, instance)
    assert (late["made_again"], late["months_written"]) == (True, 2)
    assert [row[:2] for row in history(lake) if row[1] == "d"] == [(ENDS[1], "d"), (ENDS[2], "d")]

    since = lake.version(CUSTOMER_SEGMENT_MONTH)
    sell(lake, APRIL)
    reopened, _ = run(lake, instance)
    assert reopened["months_written"] == 1
    assert max(row[0] for row in history(lake)) == ENDS[1]
    assert lake.changed_days(CUSTOMER_SEGMENT_MONTH, since) == {ENDS[2]}


def test_nothing_is_written_when_a_check_fails(lake: Lake, instance: dg.DagsterInstance) -> None:
    run(lake, instance)
    before = lake.version(CUSTOMER_SEGMENT_MONTH)
    sell(lake, FEBRUARY, "b", "d")
    stale = judge(lake).with_columns(rfm_segment=pl.lit("Champions"))
    metadata, checks = run(lake, instance, stale)

    assert metadata == {}
    assert lake.version(CUSTOMER_SEGMENT_MONTH) == before
    assert not checks["history_agrees_with_versions"]


def test_it_is_made_again_by_other_code(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, instance)
    monkeypatch.setattr(closed, "_code", lambda: "of the next platform")
    metadata, _ = run(lake, instance)
    assert (metadata["made_again"], metadata["months_written"]) == (True, 0)
    metadata, _ = run(lake, instance)
    assert not metadata["made_again"]

from datetime import date
from decimal import Decimal
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts import DAY_QUALITY, SILVER_REJECTS
from retail_platform.transforms.day_quality import REASONS, quality_of_days
from retail_platform.transforms.quality import contract_holds, counts_match_silver
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.frames import rows_of, silver_lines

MONDAY, TUESDAY = date(2011, 1, 10), date(2011, 1, 11)


def rejected(*rows: tuple[date | None, str, str | None]) -> pl.DataFrame:
    """Rejected rows, each a day, a reason and an amount."""
    frame = pl.DataFrame(rows, schema=["sale_date", "reason", "line_amount"], orient="row")
    types = SILVER_REJECTS.schema
    typed = frame.with_columns(pl.col(name).cast(types[name]) for name in frame.columns)
    return typed.with_columns(sale_month=pl.col("sale_date").dt.month_start())


def counted(engine: Engine, lines: pl.DataFrame, rejects: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return rows_of(quality_of_days(engine(lines), engine(rejects)), ["sale_date", *columns])


def test_rows_and_amounts_of_a_day(engine: Engine) -> None:
    lines = silver_lines({"quantity": 2, "unit_price": Decimal("1.25")}, {"quantity": -1, "is_cancelled": True})
    rejects = rejected((MONDAY, "zero_price", "0"), (MONDAY, "superseded", "-3.5"), (MONDAY, "invalid_price", None))
    columns = ("delivered_rows", "accepted_rows", "rejected_rows", "accepted_amount", "rejected_amount")
    reasons = ("zero_price_rows", "superseded_rows", "invalid_price_rows", "duplicate_line_rows")

    assert counted(engine, lines, rejects, *columns, *reasons) == [
        (MONDAY, 5, 2, 3, Decimal("1.5"), Decimal("-3.5"), 1, 1, 1, 0)
    ]


def test_a_day_of_rejects_alone_has_a_row(engine: Engine) -> None:
    rejects = rejected((TUESDAY, "missing_invoice", None), (TUESDAY, "missing_invoice", None))
    columns = ("accepted_rows", "accepted_amount", "rejected_amount", "acceptance_pct", "missing_invoice_rows")

    assert counted(engine, silver_lines(), rejects, *columns) == [(TUESDAY, 0, 0, None, 0, 2)]


def test_a_day_without_rejects_has_no_rejected_amount(engine: Engine) -> None:
    columns = ("rejected_rows", "rejected_amount", "acceptance_pct")

    assert counted(engine, silver_lines({}), rejected(), *columns) == [(MONDAY, 0, None, 100)]


def test_rows_without_a_day_are_of_no_day(engine: Engine) -> None:
    assert counted(engine, silver_lines(), rejected((None, "invalid_date", "1"))) == []


@pytest.mark.parametrize(("accepted", "rejects", "share"), [(1, 2, "33.3333"), (2, 1, "66.6667"), (1, 31, "3.125")])
def test_the_share_is_rounded_half_up(engine: Engine, accepted: int, rejects: int, share: str) -> None:
    frames = silver_lines(*[{}] * accepted), rejected(*[(MONDAY, "test_line", "1")] * rejects)

    assert counted(engine, *frames, "acceptance_pct") == [(MONDAY, Decimal(share))]


def test_the_contract_holds_and_has_a_column_for_every_reason_of_a_dated_row() -> None:
    rejects = rejected(*((MONDAY, reason, "1") for reason in REASONS))
    frames = (nw.from_native(frame.lazy()) for frame in (silver_lines({}), rejects))
    frame = quality_of_days(*frames).to_native().collect()

    assert contract_holds(DAY_QUALITY, frame).passed
    assert [name for name in frame.columns if name.endswith("_rows")][3:] == [f"{reason}_rows" for reason in REASONS]
    assert "invalid_date" not in REASONS


def test_rows_that_a_new_rule_drops_add_up_without_a_column_of_their_own() -> None:
    lines, rejects = silver_lines({}), rejected((MONDAY, "new_rule", "1"), (MONDAY, "zero_price", "0"))
    frame = quality_of_days(nw.from_native(lines.lazy()), nw.from_native(rejects.lazy())).to_native().collect()

    assert frame["rejected_rows"].to_list() == [2]
    assert counts_match_silver(frame, lines, rejects).passed
    assert not counts_match_silver(frame, lines, rejects.with_columns(reason=pl.lit("zero_price"))).passed


@pytest.mark.parametrize("column", ["delivered_rows", "accepted_rows", "rejected_rows", "superseded_rows"])
def test_a_wrong_count_is_found(column: str) -> None:
    lines, rejects = silver_lines({}), rejected((MONDAY, "superseded", "1"))
    frame = quality_of_days(nw.from_native(lines.lazy()), nw.from_native(rejects.lazy())).to_native().collect()

    assert counts_match_silver(frame, lines, rejects).passed
    assert not counts_match_silver(frame.with_columns(pl.col(column) + 1), lines, rejects).passed
    assert not counts_match_silver(frame.clear(), lines, rejects).passed

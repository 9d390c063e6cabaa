"""Plots are drawn of what there is, and of nothing else."""

import base64
import struct
from datetime import date, timedelta
from decimal import Decimal

import dagster as dg
import polars as pl
import pytest

from retail_platform.contracts import REVENUE_ANOMALIES
from retail_platform.defs.plots import flagged_lines_plot, revenue_bands_plot

DAYS = [date(2011, 3, 1) + timedelta(days=n) for n in range(40)]


def size(plot: dg.MarkdownMetadataValue) -> tuple[int, int]:
    """Width and height of the PNG inside."""
    _, _, encoded = str(plot.value).partition(";base64,")
    width, height = struct.unpack(">II", base64.b64decode(encoded.removesuffix(")"))[16:24])
    return width, height


def judged(member: str) -> pl.DataFrame:
    amounts = {f"{name}_revenue": Decimal(n) for n, name in enumerate(("low", "expected", "net", "high"))}
    rows = [
        {"dimension": "country", "member": member, "sale_date": day, "is_anomaly": False, **amounts} for day in DAYS
    ]
    return pl.DataFrame(rows, schema_overrides={name: REVENUE_ANOMALIES.schema[name] for name in amounts})


@pytest.mark.parametrize(("members", "rows"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_members_are_drawn_two_in_a_row(members: int, rows: int) -> None:
    plot = revenue_bands_plot([judged(f"No {n}") for n in range(members)], "Revenue")
    assert size(plot) == (960, round(80 * (1 + 1.6 * rows)))


def test_a_measure_that_was_never_flagged_is_drawn_empty() -> None:
    counts = pl.DataFrame({"sale_date": DAYS, "unit_price": range(40), "quantity": [0] * 40})
    assert size(flagged_lines_plot(counts, "Lines")) == (680, 336)

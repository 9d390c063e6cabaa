"""A file whose dates cannot be read is told of, though its rows belong to no day that could be held back."""

from datetime import date

import polars as pl

from retail_platform.defs.landing import dates_are_readable

PART = {"delivery_id": "a#0", "file_sha256": "a", "sheet_index": 0}


def test_a_file_with_mostly_unreadable_dates_fails_with_its_rows_and_advice() -> None:
    delivered = pl.DataFrame([PART | {"source_file": "a.csv", "rows": 60}])
    days = pl.DataFrame([PART | {"sale_date": date(2011, 1, 4), "rows": 20}, PART | {"sale_date": None, "rows": 40}])
    found = dates_are_readable(delivered, days)
    assert not found.passed
    assert found.description.startswith("1 files")
    assert "40 of 60 rows of a.csv; add the format" in found.description
    assert dates_are_readable(delivered.with_columns(rows=80), days).passed
    assert dates_are_readable(delivered.with_columns(rows=19), days.with_columns(rows=19)).passed

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.defs.cohorts import COHORTS as MART
from retail_platform.defs.cohorts import cohort_matrix, cohort_plots

DECEMBER, JANUARY = date(2010, 12, 1), date(2011, 1, 1)
COHORTS = pl.DataFrame(
    [(DECEMBER, 0, DECEMBER, 100.0, 13.0), (DECEMBER, 1, JANUARY, 50.0, 5.25), (JANUARY, 0, JANUARY, 100.0, 14.0)],
    schema=["cohort_month", "month_number", "sale_month", "retention_pct", "avg_lifetime_value"],
    orient="row",
)


def test_a_row_per_cohort_and_a_column_per_month_since() -> None:
    matrix = cohort_matrix(COHORTS, "retention_pct")

    assert matrix.columns == ["cohort_month", "0", "1"]
    assert matrix.rows() == [("2010-12", 100, 50), ("2011-01", 100, None)]


def test_they_are_drawn_when_a_closed_month_was_built_and_stand_when_only_the_open_one_was() -> None:
    first, closed = [date(2011, 2, 1)], [date(2011, 1, 31), date(2011, 2, 1)]
    with dg.DagsterInstance.ephemeral() as instance:

        def build(cohorts: pl.DataFrame, days: list[date]) -> dict[str, Any]:
            told = cohort_plots(instance, cohorts, days)
            instance.report_runless_asset_event(dg.AssetMaterialization(MART, metadata={"rows": 3, **told}))
            return told

        assert build(COHORTS.clear(), []) == {}
        december = build(COHORTS.head(1), [])
        january = build(COHORTS, first)
        assert january.keys() == {"newest_closed_month", "retention", "lifetime_value"} == december.keys()
        assert all(january[name].md_str.startswith("![") for name in ("retention", "lifetime_value"))
        assert january["retention"] != december["retention"]
        other = COHORTS.with_columns(retention_pct=pl.lit(7.0))
        assert build(other, first) == january
        assert build(other, first) == january
        assert build(other, closed)["retention"] != january["retention"]

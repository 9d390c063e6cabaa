from datetime import date

import polars as pl

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


def test_they_are_drawn_when_a_closed_month_was_built() -> None:
    assert cohort_plots(COHORTS, [date(2011, 2, 1)]) == {}
    assert cohort_plots(COHORTS.clear(), []) == {}
    drawn = cohort_plots(COHORTS, [date(2011, 1, 31), date(2011, 2, 1)])
    assert drawn.keys() == {"retention", "lifetime_value"} == cohort_plots(COHORTS.head(1), []).keys()
    assert all(plot.md_str.startswith("![") for plot in drawn.values())

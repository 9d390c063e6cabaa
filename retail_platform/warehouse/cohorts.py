"""What a build of the marts says of the cohorts, for the picture of them."""

import polars as pl
import psycopg

CLOSED = """
select cohort_month, month_number, sale_month, retention_pct::float8, avg_lifetime_value::float8
from marts_build.cohort_retention where is_closed order by cohort_month, month_number
"""
SCHEMA = {
    "cohort_month": pl.Date,
    "month_number": pl.Int32,
    "sale_month": pl.Date,
    "retention_pct": pl.Float64,
    "avg_lifetime_value": pl.Float64,
}


def closed_cohorts(connection: psycopg.Connection) -> pl.DataFrame:
    """The closed months of every cohort in the built mart, ordered by cohort_month and month_number; floats, to draw.

    Args:
        connection: to a warehouse whose marts are built.
    """
    with connection.transaction():
        return pl.DataFrame(connection.execute(CLOSED).fetchall(), schema=SCHEMA, orient="row")

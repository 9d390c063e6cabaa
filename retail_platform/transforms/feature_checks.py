"""What must hold of a table of features before it is written: finite figures, and nothing later than its day."""

from collections.abc import Iterable

import polars as pl

from retail_platform.contracts import CUSTOMER_FEATURE, PRODUCT_FEATURE, SILVER_SALES, Table
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

RECOUNTED = {
    CUSTOMER_FEATURE: ("customer_id", "order_count_365d", "order_count_all", "purchase_amount_all", "last_order_date"),
    PRODUCT_FEATURE: ("stock_code", "order_count_365d", "order_count_all", "sales_amount_all", "last_order_date"),
}
"""Table -> its key and the figures counted again; the last day is the day less the days since."""
DAYS_SINCE = {CUSTOMER_FEATURE: "days_since_last_order", PRODUCT_FEATURE: "days_since_last_sale"}

COUNT = """
with orders as (
    select {key}, invoice_no, sale_date, sum(line_amount) as amount from lines
    where line_type = 'product' and not is_cancelled and quantity > 0 and {key} is not null
    group by all
)
select {key}, count(*) filter (sale_date > (select max(as_of_date) from features) - 365) as {year},
    count(*) as {orders}, sum(amount) as {amount}, max(sale_date) as {last}
from orders group by all
"""

RECOUNT = """
with recounted as (
    select {key}, sum({year})::bigint as {year}, sum({orders})::bigint as {orders}, sum({amount}) as {amount},
        max({last}) as {last}
    from counts group by all
), made as (
    select {key}, {year}, {orders}, {amount}, as_of_date - cast({since} as int) as {last} from features
)
select 'table' as found_in, * from (from made except all from recounted)
union all select 'recount', * from (from recounted except all from made) order by 2, 1
"""


def features_are_finite(table: Table, frame: pl.DataFrame) -> Finding:
    """Whether no feature is infinite or not a number: what has no basis is null."""
    floats = [name for name, dtype in table.schema.items() if dtype == pl.Float64]
    counted = frame.select((~pl.col(floats).is_finite()).sum()).transpose(include_header=True, column_names=["rows"])
    failing = counted.filter(pl.col("rows") > 0)
    return Finding(
        "features_are_finite",
        failing.is_empty(),
        f"{table}: {failing.height} features are infinite or not a number in some row, where they have no basis.",
        {"failing": failing.head(EVIDENCE_ROWS)},
    )


def point_in_time_holds(table: Table, frame: pl.DataFrame, lines: Iterable[pl.DataFrame]) -> Finding:
    """Whether orders, amounts and last days equal a recount, in SQL, from the lines up to the day and no others.

    Args:
        table: of features.
        frame: its rows.
        lines: the silver lines up to the day, whole days in any number of parts, of which one is held at a time.
    """
    import duckdb  # takes a moment to load, and most runs recount nothing

    key, year, orders, amount, last = RECOUNTED[table]
    names = {"key": key, "year": year, "orders": orders, "amount": amount, "last": last, "since": DAYS_SINCE[table]}
    with duckdb.connect() as connection:
        made = frame.select("as_of_date", key, year, orders, amount, DAYS_SINCE[table])
        connection.register("features", made.to_arrow())
        connection.register("lines", SILVER_SALES.empty().to_arrow())
        connection.sql("create table counts as " + COUNT.format(**names))
        for part in lines:
            connection.register("lines", part.to_arrow())
            connection.sql("insert into counts " + COUNT.format(**names))
        differing = connection.sql(RECOUNT.format(**names)).pl()
    return Finding(
        "point_in_time_holds",
        differing.is_empty(),
        f"{table}: {differing[key].n_unique()} members differ from a recount of the lines up to the day; "
        "a feature reads later lines, or the table misses members.",
        {"recounted": frame.height, "differing": differing.head(EVIDENCE_ROWS)},
    )

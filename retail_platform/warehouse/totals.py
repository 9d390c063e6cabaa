"""The same total, read at each place of the warehouse that should agree on it."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import psycopg

_REVENUE = {
    "warehouse": "select sum(total_amount) from gold.fact_sale",
    "daily_sales": "select sum(net_revenue) from marts_build.daily_sales",
    "monthly_sales": "select sum(net_revenue) from marts_build.monthly_sales",
    "country_sales": "select sum(net_revenue) from marts_build.country_sales",
}
_DAY = {
    "warehouse": "sale_date",
    "daily_sales": "sale_date",
    "monthly_sales": "sale_month",
    "country_sales": "sale_month",
}


def revenue_totals(connection: psycopg.Connection, months: Sequence[date]) -> dict[str, Decimal]:
    """Place -> net revenue: the loaded facts, and the built marts that sum it up.

    Args:
        connection: without an open transaction.
        months: first days of the months to sum up; others are not read. None of them: all.
    """
    with connection.transaction():
        return {place: _sum(connection, place, months) for place in _REVENUE}


def built_revenue(connection: psycopg.Connection) -> Decimal:
    """Net revenue of all days in the build."""
    with connection.transaction():
        return _sum(connection, "daily_sales", ())


def _sum(connection: psycopg.Connection, place: str, months: Sequence[date]) -> Decimal:
    # A range of each month, not a list of all: the partitions of the other months are not even opened.
    spans = " or ".join(f"({_DAY[place]} >= %s and {_DAY[place]} < %s::date + interval '1 month')" for _ in months)
    bounds = [bound for month in months for bound in (month, month)]
    row = connection.execute(f"{_REVENUE[place]} where {spans or 'true'}".encode(), bounds).fetchone()
    assert row is not None
    return Decimal(row[0] or 0)

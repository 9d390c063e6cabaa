"""The same total, read at each place of the warehouse that should agree on it."""

from decimal import Decimal

import psycopg

_REVENUE = {
    "warehouse": "select coalesce(sum(total_amount), 0) from gold.fact_sale",
    "daily_sales": "select coalesce(sum(net_revenue), 0) from marts_build.daily_sales",
    "monthly_sales": "select coalesce(sum(net_revenue), 0) from marts_build.monthly_sales",
    "country_sales": "select coalesce(sum(net_revenue), 0) from marts_build.country_sales",
}


def revenue_totals(connection: psycopg.Connection) -> dict[str, Decimal]:
    """Place -> net revenue over all days: the loaded facts, and the built marts that sum it up."""
    with connection.transaction():
        return {place: _one(connection, query) for place, query in _REVENUE.items()}


def _one(connection: psycopg.Connection, query: str) -> Decimal:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return Decimal(row[0])

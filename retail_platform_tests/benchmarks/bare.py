"""What an expert would write by hand for the questions of `serving`: Starlette, asyncpg, one statement each.

PostgreSQL builds the JSON, as it does for the platform's API; nobody is asked who he is, nothing is checked, logged or
counted. `python -m retail_platform_tests.benchmarks.bare PORT`, with RETAIL_HOME or RETAIL_DATABASE_URL set.

A page of sales comes with the total of its filter. The expert keeps totals as long as the warehouse's version, read
in the same statement, stays the same; `/sales/counted` is the plainer endpoint that counts every time.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retail_platform.settings import get_settings
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import READER

VERSION = """
(select coalesce(max(load_id), 0) from platform.load)::text || '.'
|| (select coalesce(max(version), 0) from platform.publication)::text
"""

PAGE = f"""
select {VERSION}, (
    select coalesce(json_agg(line), '[]') from (
        select s.sale_id, s.sale_date, s.invoiced_at, i.invoice_no, p.stock_code, p.description, c.country_code,
            c.country_name, m.customer_id, s.quantity, s.unit_price, s.total_amount, s.line_type, s.is_cancelled
        from (
            select * from gold.fact_sale where country_key = $1 and sale_date >= $2
            order by sale_date desc, sale_id desc limit $3 offset $4
        ) as s
        join gold.dim_invoice as i using (invoice_key)
        join gold.dim_product as p using (product_key)
        join gold.dim_country as c using (country_key)
        join gold.dim_customer as m using (customer_key)
        order by s.sale_date desc, s.sale_id desc
    ) as line
)
"""
TOTAL = f"select {VERSION}, (select count(*) from gold.fact_sale where country_key = $1 and sale_date >= $2)"

ANALYTICS = """
select coalesce(json_agg(t order by t.period), '[]'), count(*)
from marts.sales_by_period as t where granularity = $1 and period >= $2
"""

GRAPHQL = """
select json_build_object('data', json_build_object(
    'salesAnalytics', (
        select coalesce(json_agg(json_build_object(
            'period', period, 'totalRevenue', net_revenue::text, 'uniqueCustomers', customer_count
        ) order by period), '[]')
        from marts.sales_by_period where granularity = $1
    ),
    'customerSegments', (
        select coalesce(json_agg(json_build_object(
            'segmentName', rfm_segment, 'customerCount', customer_count, 'avgLifetimeValue', avg_lifetime_value::text
        ) order by rfm_segment), '[]')
        from marts.customer_segments
    )
))
"""


class Bare:
    """The endpoints, and what they keep."""

    def __init__(self) -> None:
        self.pool: asyncpg.Pool
        self.countries: dict[str, int]
        self.totals: dict[tuple[int, date], tuple[str, int]] = {}

    async def sales(self, request: Request) -> Response:
        """A page, its total kept."""
        return await self._page(request, keeps_total=True)

    async def counted_sales(self, request: Request) -> Response:
        """A page, its total counted."""
        return await self._page(request, keeps_total=False)

    async def analytics(self, request: Request) -> Response:
        """Periods with all their measures."""
        asked = request.query_params
        rows, total = await self.pool.fetchrow(
            ANALYTICS, asked["granularity"].upper(), date.fromisoformat(asked["date_from"])
        )
        return _listed(rows, 1, 1000, total, dict(asked))

    async def graphql(self, request: Request) -> Response:
        """The one operation, by its variables."""
        asked = orjson.loads(await request.body())
        return Response(
            await self.pool.fetchval(GRAPHQL, asked["variables"]["granularity"]), media_type="application/json"
        )

    async def _page(self, request: Request, keeps_total: bool) -> Response:
        asked = request.query_params
        page, size = int(asked["page"]), int(asked["size"])
        filters = self.countries[asked["country"]], date.fromisoformat(asked["date_from"])
        async with self.pool.acquire() as connection:
            version, rows = await connection.fetchrow(PAGE, *filters, size, size * (page - 1))
            known = self.totals.get(filters)
            if known is None or known[0] != version or not keeps_total:
                known = self.totals[filters] = tuple(await connection.fetchrow(TOTAL, *filters))
        return _listed(rows, page, size, known[1], dict(asked))


def _listed(rows: bytes, page: int, size: int, total: int, asked: dict[str, str]) -> Response:
    pages = -(-total // size)
    pagination = {"page": page, "size": size, "total": total, "pages": pages}
    pagination |= {"has_next": page < pages, "has_prev": page > 1}
    envelope = b'{"data":%s,"pagination":%s,"filters_applied":%s}'
    return Response(envelope % (rows, orjson.dumps(pagination), orjson.dumps(asked)), media_type="application/json")


def create_app() -> Starlette:
    """The application; its pool is as large as the API's, and its sessions are set up as the API's are."""
    bare, settings = Bare(), get_settings()
    database = warehouse_database(settings)

    async def prepare(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        options: dict[str, Any] = {"role": READER, "default_transaction_read_only": "on", "jit": "off"}
        async with asyncpg.create_pool(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password or None,
            database=database.dbname,
            min_size=settings.api_connections,
            max_size=settings.api_connections,
            max_cached_statement_lifetime=0,
            init=prepare,
            reset=_keep_as_it_is,
            server_settings=options,
        ) as bare.pool:
            found = await bare.pool.fetch("select country_code, country_key from gold.dim_country")
            bare.countries = dict(found)
            yield

    routes = [
        Route("/sales", bare.sales),
        Route("/sales/counted", bare.counted_sales),
        Route("/analytics", bare.analytics),
        Route("/graphql", bare.graphql, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=running)


async def _keep_as_it_is(connection: asyncpg.Connection) -> None:
    """Reading leaves nothing behind; the usual cleaning would be a statement a request."""


if __name__ == "__main__":
    uvicorn.run(
        create_app(),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
    )

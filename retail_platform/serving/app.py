"""The application: every room of serving put together, for one platform.

Lives here: what is opened at the start and closed at the end, the layers around the routes, the routers, OpenAPI's
frame. Stays out: the routes themselves.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette_compress import CompressMiddleware

from retail_platform.serving import pages, problems
from retail_platform.serving.access import routes as access_routes
from retail_platform.serving.access.credentials import open_access
from retail_platform.serving.access.principals import WAYS_IN
from retail_platform.serving.access.tables import may_prepare, prepare_access
from retail_platform.serving.catalogue import Catalogue, read_catalogue
from retail_platform.serving.database import open_warehouse
from retail_platform.serving.direct import DirectRoutesMiddleware
from retail_platform.serving.graphql import router as graphql
from retail_platform.serving.logs import logging_to
from retail_platform.serving.middleware import AccessMiddleware, BodyLimitMiddleware, RequestMiddleware
from retail_platform.serving.rest import datamart, exports, health, metrics, sales, tables, tasks
from retail_platform.settings import Settings, get_settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import ServerError, has_crashed, warehouse_database

log = logging.getLogger("retail.api")

COMPRESSED_FROM = 1_000
"""Bytes; below, the headers of a packet weigh as much as what is saved."""

WATCH_SECONDS = 2.0
"""Between two looks whether the embedded server has crashed."""

EXPOSED = ["ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID", "Content-Disposition"]
"""Headers that pages of other origins may read."""


def create_app(settings: Settings, *, writes_logs: bool = False) -> FastAPI:
    """The API of a platform; what it needs is opened when it starts.

    Args:
        settings: of the platform.
        writes_logs: whether this process logs as `logs` says while the application runs; else the caller sees to it.

    Returns:
        The ASGI application. `state` holds `settings`, `catalogue` and, once it has started, `warehouse` and `access`.
    """
    catalogue = read_catalogue()
    data = [graphql.router(catalogue, settings)]
    data += [rest.router(catalogue, settings.max_page_size) for rest in (datamart, sales, tables)]
    app = FastAPI(
        title="Retail Platform",
        version=version("retail-platform"),
        description="Sales, customers and products over REST and GraphQL.",
        lifespan=_running,
        middleware=[*_layers(settings, catalogue), Middleware(DirectRoutesMiddleware, data)],
        responses=problems.PROBLEMS,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.catalogue = catalogue
    app.state.metrics = metrics.Metrics()
    app.state.writes_logs = writes_logs
    problems.install(app)
    others = [exports.router(catalogue), tasks.router(catalogue, settings), health.routes, metrics.routes]
    for router in (access_routes.routes, *data, *others, pages.router(app)):
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def worker_app() -> FastAPI:
    """The API of the platform that the environment names, as each worker of `retail serve` builds it."""
    return create_app(get_settings(), writes_logs=True)


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        if app.state.writes_logs:
            stack.enter_context(logging_to(settings))
        database = await asyncio.to_thread(_prepared, settings)
        app.state.access = await stack.enter_async_context(open_access(settings, database))
        app.state.warehouse = await open_warehouse(settings)
        stack.push_async_callback(app.state.warehouse.close)
        if settings.database_url is None:
            watch = asyncio.create_task(_bring_back_server(settings))
            stack.callback(watch.cancel)
        # What is there now stays: looking through it for garbage would stop every request for a tenth of a second.
        gc.collect()
        gc.freeze()
        yield


async def _bring_back_server(settings: Settings) -> None:
    """Start the embedded server again when it has crashed; one that was stopped stays so."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if has_crashed(settings):
            log.warning("The embedded PostgreSQL has crashed; it is started again.")
            try:
                await asyncio.to_thread(warehouse_database, settings)
            except ServerError:
                log.exception("The embedded PostgreSQL does not start; it is tried again.")


def _prepared(settings: Settings) -> Database:
    """The warehouse, with the tables of users where we may make them; elsewhere `retail user add` does."""
    database = warehouse_database(settings)
    with database.connect() as connection:
        if may_prepare(connection):
            connection.commit()
            prepare_access(connection)
    return database


def _layers(settings: Settings, catalogue: Catalogue) -> list[Middleware]:
    """The layers around the routes, the outermost first; `middleware` says what each is for."""
    harmless = (each.name for table in catalogue.values() for each in table.columns.values() if not each.is_personal)
    layers = [Middleware(RequestMiddleware, settings.request_seconds, frozenset(harmless))]
    if settings.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "X-API-Key", "X-Request-ID", "If-None-Match"],
                expose_headers=EXPOSED,
            )
        )
    return [
        *layers,
        Middleware(CompressMiddleware, minimum_size=COMPRESSED_FROM, brotli=False),
        Middleware(BodyLimitMiddleware, settings.max_request_bytes),
        Middleware(AccessMiddleware),
    ]


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, with what every route has in common: what a problem looks like, and each way in."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = problems.PROBLEM_SCHEMA
        components["securitySchemes"] = WAYS_IN
        for operation in (each for path in schema["paths"].values() for each in path.values()):
            if "security" in operation:
                operation["security"] = [{name: []} for name in WAYS_IN]
        app.openapi_schema = schema
    return app.openapi_schema

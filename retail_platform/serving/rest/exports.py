"""Exports: the rows of a table as a file, streamed while the database still reads them.

Lives here: what may be asked, and how a file that is being made goes out over HTTP. Stays out: which rows that are
(`selections`), how the file is made (`warehouse.export`).
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Annotated, Any, Literal

import psycopg
from anyio import CapacityLimiter, from_thread, to_thread
from fastapi import APIRouter, Body, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message, Receive, Scope, Send

from retail_platform.serving.access.principals import Role, require
from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.database import (
    LOAD_FIRST,
    PUBLISH_FIRST,
    NothingLoadedError,
    TooSlowError,
    UnreachableError,
)
from retail_platform.serving.problems import ProblemError
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.rest.metrics import Metrics
from retail_platform.serving.rest.sales import COLUMNS, SALES, SalesFilters, read_filters, sales_reader
from retail_platform.serving.selections import read_selection, select
from retail_platform.warehouse.export import FILE_KINDS, Export, ExportError, Selection, name_and_type
from retail_platform.warehouse.server import ServerError, warehouse_database

EXPORTS_AT_ONCE = 4
"""Of each process; one keeps a core busy, and a connection."""

RETRY_SECONDS = 15

Format = Literal["parquet", "csv", "arrow", "xlsx"]
Compression = Literal["none", "gzip", "zstd", "snappy", "lz4"]


class FileRequest(BaseModel):
    """What kind of file, of which rows."""

    model_config = ConfigDict(extra="forbid")

    format: Format = Field("parquet", description="Kind of the file.")
    compression: Compression | None = Field(
        None,
        description="Best left out. It may be "
        + "; ".join(f"for {name} {', '.join(kind.compressions)}" for name, kind in FILE_KINDS.items())
        + ". The first is the one when nothing is said.",
    )
    columns: list[str] = Field(
        [], max_length=100, description="`quantity`, or `product.description` of a row pointed to; all unless given."
    )
    sort: list[str] = Field(
        [], max_length=10, description="`sale_date`, or `total_amount:desc`. Without an order a file begins at once."
    )

    @property
    def packing(self) -> str:
        """The compression, also when nothing was said.

        Raises:
            QuestionError: the compression does not go with the format.
        """
        goes = FILE_KINDS[self.format].compressions
        if self.compression is not None and self.compression not in goes:
            raise QuestionError("compression", f"{self.compression} does not go with {self.format}; {_one_of(goes)}")
        return self.compression or goes[0]


def _one_of(names: Sequence[str]) -> str:
    return f"it may be {' or '.join(names)}"


class TableExport(FileRequest):
    """A file of a table's rows."""

    filters: dict[str, Any] = Field({}, description="Which rows: column, operator, value; `and`, `or`, `not`.")


class SalesExport(FileRequest):
    """A file of sale lines."""

    filters: SalesFilters = Field(SalesFilters(), description="Lines that are exported.")


SALES_EXAMPLE = {
    "format": "parquet",
    "compression": "zstd",
    "filters": {"date_from": "2011-11-01", "date_to": "2011-11-30", "countries": ["UK", "US"]},
}

EXAMPLES: Mapping[str, Any] = {
    "a month as Parquet": {
        "value": {"format": "parquet", "filters": {"sale_date": {"gte": "2011-11-01", "lt": "2011-12-01"}}}
    },
    "columns of two tables as CSV": {
        "value": {
            "format": "csv",
            "compression": "gzip",
            "columns": ["sale_date", "product.description", "quantity", "total_amount"],
            "filters": {"country": {"country_name": {"eq": "France"}}},
            "sort": ["total_amount:desc"],
        }
    },
}

FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file. One that is cut short ends without its last chunk, and is to be thrown away.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for name, kind in FILE_KINDS.items()
            for media_type in sorted({name_and_type("", name, each)[1] for each in kind.compressions})
        },
        "headers": {"Content-Disposition": {"schema": {"type": "string"}, "description": "The file's name."}},
    }
}


def router(catalogue: Catalogue) -> APIRouter:
    """The routes of exports: of any table, and of sales.

    Args:
        catalogue: the tables served.
    """
    routes = APIRouter(tags=["exports"], dependencies=[Depends(require(Role.ANALYST))])

    @routes.post(
        "/api/v1/exports/{table}",
        summary="Rows of a table as a file",
        response_class=Response,
        responses=FILE,
    )
    async def export_table(
        request: Request,
        table: Annotated[str, Path(description="A table of `/api/v1/tables`.", examples=["fact_sale"])],
        asked: Annotated[TableExport, Body(openapi_examples=dict(EXAMPLES))],
    ) -> Response:
        """Streams the rows as CSV, Parquet, Arrow (IPC file) or Excel, in bounded memory at any number of rows."""
        if table not in catalogue:
            raise ProblemError(404, f"There is no table {table!r:.100}; there are {', '.join(catalogue)}.")
        selection = read_selection(catalogue, table, asked.columns, asked.filters, asked.sort)
        return ExportResponse(request, table, selection, asked)

    @routes.post("/api/v2/sales/export", summary="Sale lines as a file", response_class=Response, responses=FILE)
    async def export_sales(request: Request, asked: Annotated[SalesExport, Body(examples=[SALES_EXAMPLE])]) -> Response:
        """Streams sale lines, with the columns and filters of `GET /api/v2/sales`, in bounded memory at any number."""
        reader = sales_reader(catalogue, sees_customers=True)
        filters = read_filters(reader, asked.filters)
        outputs = reader.outputs(asked.columns or tuple(COLUMNS), "columns")
        selection = select(catalogue, SALES, outputs, filters.filter, filters.values, reader.sort(asked.sort))
        return ExportResponse(request, "sales", selection, asked)

    return routes


class ExportResponse(Response):
    """A file that is made while it is sent.

    A thread makes it: it waits for the client as much as for the database, so that the file is never in memory. What
    goes wrong before the first row is a problem; later the answer is cut off, without the chunk that would end it.
    """

    def __init__(self, request: Request, name: str, selection: Selection, asked: FileRequest) -> None:
        """Prepare the answer.

        Args:
            request: that asked.
            name: of the file, without a suffix.
            selection: its rows.
            asked: the kind of file.
        """
        self.status_code = 200
        self.background = None
        filename, self.media_type = name_and_type(name, asked.format, asked.packing)
        self.init_headers({"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._settings = request.app.state.settings
        self._metrics: Metrics = request.app.state.metrics
        self._limiter = _limiter_of(request)
        self._selection = selection
        self._asked = asked
        self._export: Export | None = None
        self._is_over = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; the statement ends with whoever asked."""
        if self._limiter.borrowed_tokens >= EXPORTS_AT_ONCE:
            raise ProblemError(
                503,
                f"{EXPORTS_AT_ONCE} exports are going on, and no more at a time. Ask again in {RETRY_SECONDS} s, "
                "or submit the task export_table.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self._metrics.exports.labels(self._asked.format).inc()
        watching = asyncio.create_task(self._end_with_client(receive))
        try:
            await to_thread.run_sync(self._send, scope, send, limiter=self._limiter)
        finally:
            watching.cancel()
            await self._end()

    def _send(self, scope: Scope, send: Send) -> None:
        """Make the file and send it; in a thread."""
        try:
            database = warehouse_database(self._settings)
            self._export = Export(
                database, self._selection, self._asked.format, self._asked.packing, self._settings.export_seconds
            )
            with closing(self._export.chunks()) as chunks:
                first = next(chunks, b"")
                from_thread.run(
                    _pass_on,
                    send,
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers},
                )
                for chunk in chain([first], chunks):
                    if self._is_over.is_set():
                        return
                    from_thread.run(_pass_on, send, {"type": "http.response.body", "body": chunk, "more_body": True})
            scope["state"]["rows"] = self._export.rows
            self._is_over.set()
            from_thread.run(_pass_on, send, {"type": "http.response.body", "body": b"", "more_body": False})
        except (psycopg.Error, ServerError, ExportError) as error:
            if not self._is_over.is_set():
                raise _explained(error, self._settings.export_seconds) from error

    async def _end_with_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await self._end()

    async def _end(self) -> None:
        """End the statement, unless the file is whole."""
        if not self._is_over.is_set():
            self._is_over.set()
            if self._export is not None:
                await to_thread.run_sync(self._export.cancel)


async def _pass_on(send: Send, message: Message) -> None:
    await send(message)


def _limiter_of(request: Request) -> CapacityLimiter:
    """Of the application, made when it is first needed: it belongs to an event loop."""
    state = request.app.state
    if not hasattr(state, "exports"):
        state.exports = CapacityLimiter(EXPORTS_AT_ONCE)
    limiter: CapacityLimiter = state.exports
    return limiter


def _explained(error: Exception, seconds: float) -> Exception:
    """The error as the API tells it."""
    if isinstance(error, ExportError):
        return ProblemError(422, str(error))
    if isinstance(error, psycopg.errors.QueryCanceled):
        return TooSlowError(f"The export took longer than {seconds:g} s. Ask for fewer rows or columns.")
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        what_to_do = PUBLISH_FIRST if '"marts.' in str(error) else LOAD_FIRST
        return NothingLoadedError(f"The warehouse cannot be read: {error.diag.message_primary}. {what_to_do}")
    return UnreachableError("PostgreSQL does not answer. Is the server running?")

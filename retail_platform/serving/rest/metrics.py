"""What the service has done, for Prometheus: requests, how long they took, rows, statements, connections, exports.

Lives here: the metrics and their route. Stays out: when a request begins and ends, which `middleware` says.

With several workers, `retail serve` names a folder (PROMETHEUS_MULTIPROC_DIR) through which they add up.
"""

import os
import time
from importlib.metadata import version
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.datastructures import State
from starlette.types import Scope

from retail_platform.serving.access.principals import Role, require
from retail_platform.serving.database import Warehouse

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds."""

METHODS = {"GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"}
SHARED = "PROMETHEUS_MULTIPROC_DIR"

REFRESH_SECONDS = 1.0
"""How often a worker takes over what others count; the one that is asked does so at once."""


class _Series(NamedTuple):
    requests: Counter
    seconds: Histogram
    rows: Counter


class Metrics:
    """The metrics of one application.

    Attributes:
        exports: exports by format, counted when they begin.
    """

    def __init__(self) -> None:
        """Make all of them, in a registry of their own, as a process may hold several applications."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series beside each, which nobody asks for
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "retail_requests_total", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "retail_request_seconds",
            "Time to answer a request, to its last byte.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._rows = Counter("retail_rows_total", "Rows in answers.", ["route"], registry=self.registry)
        self._statements = Counter("retail_statements_total", "Statements to the warehouse.", registry=self.registry)
        self._connections = Gauge(
            "retail_connections",
            "Connections to the warehouse.",
            ["state"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._in_flight = Gauge(
            "retail_requests_in_flight",
            "Requests that are being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.exports = Counter("retail_exports_total", "Exports begun.", ["format"], registry=self.registry)
        build = Gauge("retail_build", "The platform.", ["version"], registry=self.registry, multiprocess_mode="max")
        build.labels(version("retail-platform")).set(1)
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._going_on = 0
        self._counted = 0
        self._refresh_at = 0.0

    def begun(self) -> None:
        """Count a request that comes in."""
        self._going_on += 1

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            scope: of the request, with its route and, in its state, the rows of the answer.
            status: of the answer; 0 when there was none.
            seconds: from its beginning to its end.
        """
        self._going_on -= 1
        route = getattr(scope.get("route"), "path", "none")
        series = self._series_of(scope["method"] if scope["method"] in METHODS else "other", route, status)
        series.requests.inc()
        series.seconds.observe(seconds)
        if rows := scope["state"].get("rows"):
            series.rows.inc(rows)
        if (now := time.monotonic()) > self._refresh_at:
            self._refresh_at = now + REFRESH_SECONDS
            self.refresh(scope["app"].state)

    def refresh(self, state: State) -> None:
        """Take over what others count.

        Args:
            state: of the application, with its warehouse once that is open.
        """
        self._in_flight.set(self._going_on)
        warehouse: Warehouse | None = getattr(state, "warehouse", None)
        if warehouse is not None:
            self._statements.inc(warehouse.statements - self._counted)
            self._counted = warehouse.statements
            in_use, idle = warehouse.connections
            self._connections.labels("in use").set(in_use)
            self._connections.labels("idle").set(idle)

    def _series_of(self, method: str, route: str, status: int) -> "_Series":
        """Series of a route; to find them by their labels takes longer than to count."""
        key = (method, route, status)
        if key not in self._series:
            self._series[key] = _Series(
                self._requests.labels(method, route, status),
                self._seconds.labels(method, route),
                self._rows.labels(route),
            )
        return self._series[key]

    def text(self) -> bytes:
        """All of them, of all workers, in Prometheus' format."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        everybody: Any = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


routes = APIRouter(tags=["health"], dependencies=[Depends(require(Role.OPERATOR))])


@routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Requests, how long they took, rows, statements, connections and exports; operators and above."""
    found: Metrics = request.app.state.metrics
    found.refresh(request.app.state)
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

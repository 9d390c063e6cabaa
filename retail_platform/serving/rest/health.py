"""Whether the platform works: for people and monitors (`health`), and for whatever starts us (`livez`, `readyz`).

Without a warehouse the API answers nothing, so that it is down; without Dagster or the lake it answers what was loaded:
it is degraded. Anybody may ask, so that details name no address and no error of a library.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Literal

import httpx
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from retail_platform.serving.database import NothingLoadedError, Warehouse, WarehouseError
from retail_platform.settings import Settings

PROBE_SECONDS = 2.0
"""What does not answer by then counts as down; the probes run side by side."""

DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"

Status = Literal["ok", "degraded", "down"]


class Check(BaseModel):
    """What one probe found."""

    status: Status
    latency_ms: float = Field(description="How long the probe took.", examples=[1.8])
    detail: str = Field(examples=["The warehouse answers."])


class Health(BaseModel):
    """What works; as a whole down only when the database is."""

    status: Status
    version: str = Field(description="Of the platform.", examples=["1.0.0"])
    checks: dict[Literal["database", "dagster", "lake"], Check]


class Alive(BaseModel):
    """Yes."""

    status: Literal["ok"] = Field("ok", examples=["ok"])


class ProbeError(Exception):
    """A part does not do what it should; the message may be shown to anybody."""

    def __init__(self, detail: str, status: Status = "down") -> None:
        super().__init__(detail)
        self.status = status


DOWN = "The database is down. The same object as with 200, for monitors read its members: no problem details."
Probe = Callable[[Request], Awaitable[str]]
routes = APIRouter(tags=["health"])


@routes.get(
    "/api/v1/health",
    summary="What works",
    response_model=Health,
    responses={503: {"model": Health, "description": DOWN}},
)
async def health(request: Request) -> Response:
    """Asks the database, Dagster and the lake side by side. 503 only when the database is down."""
    probes = {"database": _database, "dagster": _dagster, "lake": _lake}
    found = await asyncio.gather(*(_checked(probe, request) for probe in probes.values()))
    checks: Mapping[Any, Check] = dict(zip(probes, found, strict=True))
    overall: Status = "ok" if all(check.status == "ok" for check in found) else "degraded"
    if checks["database"].status == "down":
        overall = "down"
    answer = Health(status=overall, version=version("retail-platform"), checks=dict(checks))
    return _answer(answer, 503 if overall == "down" else 200)


@routes.get("/livez", summary="Whether the process lives", response_model=Alive)
async def livez() -> Response:
    """The process answers. To restart it helps only when this does not."""
    return _answer(Alive(), 200)


@routes.get(
    "/readyz",
    summary="Whether requests can be answered",
    response_model=Check,
    responses={503: {"model": Check, "description": DOWN}},
)
async def readyz(request: Request) -> Response:
    """The database answers. While this says 503, send requests elsewhere."""
    check = await _checked(_database, request)
    return _answer(check, 503 if check.status == "down" else 200)


def _answer(model: BaseModel, status: int) -> Response:
    return Response(model.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")


async def _checked(probe: Probe, request: Request) -> Check:
    begun = time.perf_counter()
    status: Status = "ok"
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            detail = await probe(request)
    except ProbeError as error:
        status, detail = error.status, str(error)
    except TimeoutError:
        status, detail = "down", f"No answer within {PROBE_SECONDS:g} s."
    return Check(status=status, latency_ms=round((time.perf_counter() - begun) * 1000, 2), detail=detail)


async def _database(request: Request) -> str:
    warehouse: Warehouse = request.app.state.warehouse
    try:
        await warehouse.version()
    except NothingLoadedError as error:
        raise ProbeError("The warehouse answers, and holds nothing yet that can be read.", "degraded") from error
    except WarehouseError as error:
        raise ProbeError("The warehouse does not answer.") from error
    return "The warehouse answers."


async def _dagster(request: Request) -> str:
    settings: Settings = request.app.state.settings
    try:
        async with httpx.AsyncClient(timeout=PROBE_SECONDS) as client:
            answer = await client.post(f"{settings.dagster_url.rstrip('/')}/graphql", json={"query": DAEMONS})
            statuses = answer.raise_for_status().json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ProbeError("Dagster does not answer: no new files are taken in, and no tasks.") from error
    if unwell := [each["daemonType"].lower() for each in statuses if each["required"] and not each["healthy"]]:
        raise ProbeError(f"Dagster answers, but its daemon does not run: {', '.join(unwell)}.", "degraded")
    return "Dagster and its daemon answer."


async def _lake(request: Request) -> str:
    settings: Settings = request.app.state.settings
    commits = await to_thread.run_sync(lambda: sorted((settings.lake / "gold/fact_sale/_delta_log").glob("*.json")))
    if not commits:
        raise ProbeError("There is no lake here, or nothing in it: no days can be run.")
    return f"The lake's sales are at version {int(commits[-1].stem)}."

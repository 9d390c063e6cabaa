"""Tasks: what takes longer than a request. Each is a run of Dagster, which its own webserver starts and tells about.

Lives here: which tasks there are, who may have them, and how a run looks to a client. Stays out: talking to Dagster
(`instance.client`, imported when the first task is asked for, in a thread) and the work (`defs`).

A task belongs to whoever submitted it, as a tag of its run says; operators see all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar
from uuid import UUID

from anyio import Lock, to_thread
from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from retail_platform.serving.access.principals import Principal, Role, require
from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.problems import ProblemError, described, request_id_of
from retail_platform.serving.rest.exports import TableExport
from retail_platform.serving.selections import read_selection
from retail_platform.settings import Settings

if TYPE_CHECKING:
    from retail_platform.instance.client import Run, RunsClient

TASK_TAG = "retail/task"
OWNER_TAG = "retail/submitted_by"
REQUEST_TAG = "retail/request_id"
KEY_TAG = "retail/idempotency_key"
BODY_TAG = "retail/parameters"

STATUSES = {
    "QUEUED": "queued",
    "NOT_STARTED": "queued",
    "MANAGED": "running",
    "STARTING": "starting",
    "STARTED": "running",
    "SUSPENDED": "running",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "CANCELING": "cancelling",
    "CANCELED": "cancelled",
}
"""Dagster's words for a run's state -> ours."""
ENDED = {"succeeded", "failed", "cancelled"}

T = TypeVar("T")


class ExportParameters(TableExport):
    """Which rows of which table, and the kind of file."""

    table: str = Field(description="A table of `/api/v1/tables`.")


class ReportParameters(BaseModel):
    """Which month, and the kind of file."""

    model_config = ConfigDict(extra="forbid")

    month: str = Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="Year and month.", examples=["2011-11"])
    format: Literal["xlsx", "html"] = Field("xlsx", description="Kind of the file.")


class DaysParameters(BaseModel):
    """Which days."""

    model_config = ConfigDict(extra="forbid")

    date_from: date = Field(description="The first day.")
    date_to: date = Field(description="The last day, included.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.date_to < self.date_from:
            raise ValueError(f"date_to {self.date_to} is before date_from {self.date_from}")
        return self


@dataclass(frozen=True)
class Launch:
    """What Dagster is asked for: the run configuration of the job that is named like the task, and tags."""

    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: ClassVar[Role] = Role.ANALYST


class ExportTable(_Task):
    """Rows of a table as a file; for more than a connection should be held open for."""

    task_name: Literal["export_table"]
    parameters: ExportParameters

    def launch(self, catalogue: Catalogue, settings: Settings) -> Launch:
        """Read the export as the run will, so that what is wrong with it is told at once."""
        asked = self.parameters
        read_selection(catalogue, asked.table, asked.columns, asked.filters, asked.sort)
        config = {**asked.model_dump(), "compression": asked.packing}
        return Launch({"ops": {"write_export": {"config": config}}})


class SalesReport(_Task):
    """The sales of a month as a report: headline figures, days and countries."""

    task_name: Literal["sales_report"]
    parameters: ReportParameters

    def launch(self, catalogue: Catalogue, settings: Settings) -> Launch:
        """The run's configuration, when the platform can know the month."""
        first, last, month = f"{settings.first_day:%Y-%m}", f"{_tomorrow():%Y-%m}", self.parameters.month
        if not first <= month <= last:
            raise ProblemError(422, f"The month {month} is not in {first} to {last}.")
        return Launch({"ops": {"write_sales_report": {"config": self.parameters.model_dump()}}})


def _tomorrow() -> date:
    """Somewhere it is already."""
    return datetime.now(UTC).date() + timedelta(days=1)


class RunDays(_Task):
    """Run days again, from the files as delivered to the marts."""

    role: ClassVar[Role] = Role.OPERATOR
    task_name: Literal["run_days"]
    parameters: DaysParameters

    def launch(self, catalogue: Catalogue, settings: Settings) -> Launch:
        """The run's tags, which name the days."""
        first, last = settings.first_day, _tomorrow()
        asked = self.parameters
        if asked.date_from < first or asked.date_to > last:
            raise ProblemError(422, f"The days {asked.date_from} to {asked.date_to} are not all in {first} to {last}.")
        start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
        return Launch(tags={start: str(asked.date_from), end: str(asked.date_to)})


Task = Annotated[ExportTable | SalesReport | RunDays, Field(discriminator="task_name")]

EXAMPLES: Mapping[str, Any] = {
    "an export": {
        "value": {"task_name": "export_table", "parameters": {"table": "fact_sale", "format": "parquet"}},
    },
    "a report": {"value": {"task_name": "sales_report", "parameters": {"month": "2011-11", "format": "xlsx"}}},
    "days again": {
        "value": {"task_name": "run_days", "parameters": {"date_from": "2011-11-01", "date_to": "2011-11-07"}},
    },
}


class Progress(BaseModel):
    """How far a task is."""

    steps_done: int = Field(description="Steps that have ended well.")
    steps_total: int = Field(description="Steps there are.")
    current_step: str | None = Field(description="What is being done.", examples=["fact_sale"])


class TaskStatus(BaseModel):
    """Where a task stands."""

    id: UUID = Field(description="Of the task, and of its run in Dagster.")
    task_name: str = Field(examples=["export_table"])
    status: Literal["queued", "starting", "running", "succeeded", "failed", "cancelling", "cancelled"]
    submitted_by: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress
    errors: list[str] = Field([], description="Why it failed; only where one task is asked for.")
    result: str | None = Field(description="Where the result is, once there is one.")


class Tasks(BaseModel):
    """Tasks, the latest first."""

    data: list[TaskStatus]


class StepResult(BaseModel):
    """A step of a run of days."""

    step: str
    seconds: float | None


class DaysResult(BaseModel):
    """What a run of days did."""

    date_from: date
    date_to: date
    seconds: float
    steps: list[StepResult]


Analyst = Annotated[Principal, Depends(require(Role.ANALYST))]
RESULT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file of an export or report, or what a run of days did.",
        "model": DaysResult,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    409: described(409, "There is no result; the task's status is running."),
    410: described(410, "The file was removed; submit the task again."),
}


def router(catalogue: Catalogue, settings: Settings) -> APIRouter:
    """The routes of tasks.

    Args:
        catalogue: the tables served.
        settings: where Dagster is, and where files of tasks are.
    """
    routes, dagster = APIRouter(prefix="/api/v1/tasks", tags=["tasks"]), _Dagster(settings)
    _add_submit(routes, dagster, catalogue, settings)
    _add_reading(routes, dagster, settings)
    _add_cancel(routes, dagster)
    return routes


def _add_submit(routes: APIRouter, dagster: "_Dagster", catalogue: Catalogue, settings: Settings) -> None:
    lock = Lock()

    @routes.post("/submit", status_code=202, summary="Start a task", response_model=TaskStatus)
    async def submit(
        request: Request,
        response: Response,
        principal: Analyst,
        task: Annotated[Task, Body(openapi_examples=dict(EXAMPLES))],
        idempotency_key: Annotated[
            str | None,
            Header(max_length=200, description="Sent again, the same key answers with the task that it started."),
        ] = None,
    ) -> TaskStatus:
        """Queues a run of Dagster, and says under Location where its state is. A run of days needs an operator."""
        if principal.role < task.role:
            raise ProblemError(403, f"{task.task_name} needs the role {task.role}; yours is {principal.role}.")
        launch = task.launch(catalogue, settings)
        tags = {TASK_TAG: task.task_name, OWNER_TAG: principal.name, REQUEST_TAG: request_id_of(request)}
        async with lock:  # of two requests with one key, the second finds the run of the first
            run = await dagster.repeated(tags, task, idempotency_key) if idempotency_key else None
            if run is None:
                tags |= _key_tags(task, idempotency_key)
                run_id = await dagster.ask(
                    lambda runs: runs.launch(task.task_name, launch.config, {**launch.tags, **tags})
                )
                run = await dagster.run(run_id)
        status = _status(run)
        response.headers["Location"] = f"{routes.prefix}/{status.id}/status"
        return status


def _add_reading(routes: APIRouter, dagster: "_Dagster", settings: Settings) -> None:
    @routes.get("", summary="Your latest tasks", response_model=Tasks)
    async def list_tasks(
        principal: Analyst, limit: Annotated[int, Query(ge=1, le=100, description="Most tasks to answer.")] = 20
    ) -> Tasks:
        """The tasks that you submitted, the latest first."""
        found = await dagster.ask(lambda runs: runs.runs({OWNER_TAG: principal.name}, limit))
        return Tasks(data=[_status(run) for run in found])

    @routes.get("/{task_id}/status", summary="Where a task stands", response_model=TaskStatus)
    async def status(principal: Analyst, task_id: UUID) -> TaskStatus:
        """Its state, how many steps are done, and why it failed if it did."""
        run = await dagster.run_of(principal, task_id)
        errors = await dagster.ask(lambda runs: runs.failures(run.run_id)) if run.status == "FAILURE" else []
        return _status(run, errors)

    @routes.get("/{task_id}/result", summary="The result of a task", responses=RESULT, response_class=Response)
    async def result(principal: Analyst, task_id: UUID) -> Response:
        """The file of an export or report, or what a run of days did."""
        run = await dagster.run_of(principal, task_id)
        if (state := STATUSES[run.status]) != "succeeded":
            detail = f"There is no result; the task's status is {state}. See {routes.prefix}/{task_id}/status."
            raise ProblemError(409, detail)
        if run.tags[TASK_TAG] == "run_days":
            return Response(_days_result(run).model_dump_json(), media_type="application/json")
        path = await to_thread.run_sync(_file, settings.exports / run.run_id)
        return FileResponse(path, filename=path.name, headers={"Cache-Control": "no-store"})


def _add_cancel(routes: APIRouter, dagster: "_Dagster") -> None:
    @routes.post("/{task_id}/cancel", status_code=202, summary="End a task before its time", response_model=TaskStatus)
    async def cancel(principal: Analyst, task_id: UUID) -> TaskStatus:
        """Asks Dagster to end the run; the state says when it has. A run of days leaves no day half done.

        A task can be cancelled while it is queued or running; for the seconds in which it starts the answer is 409.
        """
        run = await dagster.run_of(principal, task_id)
        if (state := STATUSES[run.status]) in ENDED:
            raise ProblemError(409, f"The task has ended; its status is {state}.")
        if state == "starting":
            raise ProblemError(409, "The task is starting. Ask again in some seconds.", headers={"Retry-After": "5"})
        await dagster.ask(lambda runs: runs.terminate(run.run_id))
        return _status(await dagster.run_of(principal, task_id))


class _Dagster:
    """Dagster's runs, asked in threads."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.dagster_url

    async def ask(self, question: "Callable[[RunsClient], T]") -> T:
        return await to_thread.run_sync(self._ask, question)

    def _ask(self, question: "Callable[[RunsClient], T]") -> T:
        from retail_platform.instance.client import DagsterDownError, DagsterRefusedError, RunsClient

        try:
            return question(RunsClient(self._url))
        except DagsterDownError as error:
            raise ProblemError(
                503, f"{error} Start it with `make dev`, or say where it is with RETAIL_DAGSTER_URL."
            ) from error
        except DagsterRefusedError as error:
            raise ProblemError(503, str(error)) from error

    async def run(self, run_id: str) -> "Run":
        """A task's run.

        Raises:
            ProblemError: 404, there is no such task.
        """
        run = await self.ask(lambda runs: runs.run(run_id))
        if run is None or TASK_TAG not in run.tags:
            raise ProblemError(404, f"There is no task {run_id} of yours.")
        return run

    async def run_of(self, principal: Principal, task_id: UUID) -> "Run":
        """A task's run, if it is somebody's to see; of another's they learn no more than of one that never was."""
        run = await self.run(str(task_id))
        if principal.role < Role.OPERATOR and run.tags[OWNER_TAG] != principal.name:
            raise ProblemError(404, f"There is no task {task_id} of yours.")
        return run

    async def repeated(self, tags: Mapping[str, str], task: _Task, key: str) -> "Run | None":
        """The run that the same request started before.

        Raises:
            ProblemError: 422, the key was sent with another request.
        """
        wanted = {OWNER_TAG: tags[OWNER_TAG], KEY_TAG: _key_tags(task, key)[KEY_TAG]}
        found = await self.ask(lambda runs: runs.runs(wanted, 1))
        if found and found[0].tags[BODY_TAG] != _key_tags(task, key)[BODY_TAG]:
            raise ProblemError(422, f"The Idempotency-Key belongs to another task, {found[0].run_id}; send a new one.")
        return found[0] if found else None


def _key_tags(task: _Task, key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {
        KEY_TAG: sha256(key.encode()).hexdigest(),
        BODY_TAG: sha256(task.model_dump_json().encode()).hexdigest(),
    }


def _status(run: "Run", errors: list[str] | None = None) -> TaskStatus:
    state: Any = STATUSES[run.status]
    return TaskStatus(
        id=UUID(run.run_id),
        task_name=run.tags[TASK_TAG],
        status=state,
        submitted_by=run.tags[OWNER_TAG],
        submitted_at=datetime.fromtimestamp(run.created_at, UTC),
        started_at=_moment(run.started_at),
        ended_at=_moment(run.ended_at),
        progress=Progress(
            steps_done=sum(step.status == "SUCCESS" for step in run.steps),
            steps_total=len(run.steps),
            current_step=next((step.key for step in run.steps if step.status == "IN_PROGRESS"), None),
        ),
        errors=errors or [],
        result=f"/api/v1/tasks/{run.run_id}/result" if state == "succeeded" else None,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _days_result(run: "Run") -> DaysResult:
    ended = sorted((step.ended_at or 0.0, step.started_at, step.key) for step in run.steps)
    return DaysResult(
        date_from=date.fromisoformat(run.tags["dagster/asset_partition_range_start"]),
        date_to=date.fromisoformat(run.tags["dagster/asset_partition_range_end"]),
        seconds=(run.ended_at or 0.0) - (run.started_at or 0.0),
        steps=[StepResult(step=key, seconds=end - start if start else None) for end, start, key in ended],
    )


def _file(folder: Path) -> Path:
    """The one file of a task.

    Raises:
        ProblemError: 410, it was removed.
    """
    files = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if not files:
        raise ProblemError(410, "The file is there no longer: files are kept for some days. Submit the task again.")
    return files[0]

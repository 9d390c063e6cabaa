"""The `retail` command: thin, each command calls one room and prints what it answers."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.settings import CHECKOUT, Settings, get_settings

if TYPE_CHECKING:
    from retail_platform.runs import RunOutcome

console = Console()
Files = Literal["daily", "monthly", "yearly"]
DAY = click.DateTime(formats=["%Y-%m-%d"])
UI_PORT = 3000
STEPS = 12
"""Steps of the job run_days."""


ENVIRONMENT_FILE = """\
RETAIL_HOME=${{RETAIL_HOME:-{home}}}
DAGSTER_HOME=${{RETAIL_HOME}}/dagster
DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS=600
PATH={programs}:${{PATH}}
"""
"""What Dagster's own commands need; they let this file override what is exported, hence the `:-`."""


@click.group()
def main() -> None:
    """Retail Platform: files land, Dagster builds the lake, dbt builds the marts."""


@main.command()
@click.option("--from", "start", type=DAY, required=True, help="First day, yyyy-mm-dd.")
@click.option("--to", "end", type=DAY, required=True, help="Last day, yyyy-mm-dd, included.")
def run(start: datetime, end: datetime) -> None:
    """Run days: bronze, silver, gold, warehouse and marts."""
    if end < start:
        raise click.BadParameter(f"--to {end.date()} is before --from {start.date()}; give the last day, included.")
    settings = _prepared()
    if start.date() < settings.first_day:
        raise click.BadParameter(f"--from {start.date()} is before the platform's first day, {settings.first_day}.")
    _report(settings, _run(settings, Days(start.date(), end.date() + ONE_DAY)))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def ingest(files: Sequence[Path]) -> None:
    """Land FILES and run the days they hold."""
    settings = _prepared()
    _register(settings)  # what is in landing already is kept before a file of the same name takes its place
    land(settings, files)
    _register_and_run(settings)


@main.command()
@click.option("--input", "inputs", default="", help="Files to run on, separated by commas, instead of the sample.")
@click.option("--lines", default=100_000, show_default=True, help="Lines of the generated sample.")
def demo(inputs: str, lines: int) -> None:
    """Land a generated sample (or your files), run everything, show the figures."""
    settings = _prepared()
    files = [Path(name.strip()).expanduser() for name in inputs.split(",") if name.strip()]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise click.BadParameter(f"no such file: {', '.join(missing)}; give paths of files, separated by commas.")
    if files:
        land(settings, files)
    else:
        _write_sample(settings.landing, lines)
    _register_and_run(settings)


@main.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of objects.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header.")
def sql(query: str, as_json: bool, as_csv: bool) -> None:
    """Ask the warehouse: retail sql "select * from marts.daily_sales limit 5"."""
    from retail_platform.warehouse.query import QueryError, query_warehouse
    from retail_platform.warehouse.server import warehouse_database

    try:
        answer = query_warehouse(warehouse_database(get_settings()), query)
    except QueryError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([dict(zip(answer.columns, row, strict=True)) for row in answer.rows], default=str))
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([answer.columns, *answer.rows])
    else:
        console.print(_table(None, answer.columns, answer.rows))


@main.command()
def status() -> None:
    """What runs and what the lake holds."""
    from retail_platform.status import platform_status

    for title, columns, rows in platform_status(get_settings()):
        console.print(_table(title, columns, rows))


@main.command()
def setup() -> None:
    """Make the home folder, and a .env with which plain `dagster dev` finds it."""
    settings = _prepared(start=False)
    path = CHECKOUT / ".env"
    if not path.exists():
        path.write_text(ENVIRONMENT_FILE.format(home=settings.home, programs=Path(sys.executable).parent))


@main.command()
@click.option("--port", default=UI_PORT, show_default=True, help="Port of the UI, on this machine only.")
def dev(port: int) -> None:
    """Open Dagster's UI with sensors and schedules on the embedded services."""
    _prepared()
    arguments = ["dagster", "dev", "-w", str(CHECKOUT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    console.print(f"Dagster's UI: http://127.0.0.1:{port}   Landing folder: {get_settings().landing}")
    os.chdir(get_settings().dagster_home)
    os.execvp(arguments[0], arguments)


@main.command()
def rebuild() -> None:
    """Delete the lake and build it again from the ledger and the kept bytes."""
    from retail_platform.lakehouse.ledger import Ledger
    from retail_platform.warehouse.lock import lake_lock
    from retail_platform.warehouse.server import warehouse_database

    settings = _prepared()

    days = [day for day in Ledger(settings).fingerprints() if day is not None]
    if not days:
        raise click.ClickException("the ledger holds no day yet; land a file first (retail ingest FILE).")
    with lake_lock(warehouse_database(settings), lambda: console.print("Another run has the lake; waiting.")):
        discarded = settings.home / "lake.discarded"
        if discarded.exists():
            shutil.rmtree(discarded)
        if settings.lake.exists():
            settings.lake.rename(discarded)  # at once: a lake of which half is deleted would look like one
            shutil.rmtree(discarded)
    _report(settings, _run(settings, Days(min(days), max(days) + ONE_DAY)))


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--lines", default=100_000, show_default=True, type=click.IntRange(min=1_000), help="Sales lines.")
@click.option("--seed", default=1, show_default=True, help="Another seed gives another shop.")
@click.option("--files", type=click.Choice(["daily", "monthly", "yearly"]), default="monthly", show_default=True)
def sample(folder: Path, lines: int, seed: int, files: Files) -> None:
    """Write a generated sample of sales files into FOLDER."""
    _write_sample(folder, lines, seed, files)


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--by", type=click.Choice(["sheet", "day"]), default="sheet", show_default=True)
def split(source: Path, folder: Path, by: Literal["sheet", "day"]) -> None:
    """Split the Online Retail II Parquet file into one file per sheet, or per day and sheet."""
    from retail_platform.sources.online_retail import split as split_files

    files = split_files(source, folder, by=by)
    console.print(f"{len(files)} files in {folder}")


@main.command()
@click.argument("dataset", type=click.Choice(["online-retail-ii"]))
@click.option("--into", "folder", default=Path("."), type=click.Path(file_okay=False, path_type=Path))
@click.option("--url", default=None, help="Another address of the same file.")
def fetch(dataset: str, folder: Path, url: str | None) -> None:
    """Download a public data set and check it by its known figures."""
    from retail_platform.sources.online_retail import URL, DownloadError, WrongContentError
    from retail_platform.sources.online_retail import fetch as fetch_workbook

    try:
        with _progress(f"Fetching {dataset}") as advance:
            workbook = fetch_workbook(folder, url=url or URL, on_progress=advance)
    except (DownloadError, WrongContentError) as error:
        raise click.ClickException(str(error)) from error
    console.print(str(workbook))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: Sequence[str]) -> None:
    """Open psql on the warehouse."""
    from retail_platform.warehouse.server import psql_path, warehouse_database

    os.execv(psql_path(), ["psql", warehouse_database(get_settings()).url(), *arguments])


@main.command()
def stop() -> None:
    """Stop the embedded PostgreSQL."""
    from retail_platform.warehouse.server import stop_server

    stop_server(get_settings())


def land(settings: Settings, files: Sequence[Path]) -> None:
    """Copy files into landing under their names; a file half copied is never seen under its name.

    Raises:
        click.BadParameter: two of the files have the same name; nothing is copied.
    """
    names = [path.name for path in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise click.BadParameter(f"{', '.join(twice)} is given twice; rename one, or land them one after the other.")
    settings.landing.mkdir(parents=True, exist_ok=True)
    for path in files:
        part = settings.landing / f".{path.name}.part"
        shutil.copy2(path, part)
        part.rename(settings.landing / path.name)


def _prepared(start: bool = True) -> Settings:
    """The settings, with the environment that Dagster and dbt read set for this process and its children."""
    from retail_platform.instance.home import prepare_dagster_home

    settings = get_settings()
    os.environ.update(prepare_dagster_home(settings))
    settings.landing.mkdir(parents=True, exist_ok=True)
    if start:
        from retail_platform.warehouse.server import warehouse_database

        warehouse_database(settings)
    return settings


def _write_sample(folder: Path, lines: int, seed: int = 1, files: Files = "monthly") -> None:
    from retail_platform.sources.sample import write_sample

    with _progress("Writing the sample") as advance:
        written = write_sample(folder, lines, seed=seed, files=files, on_progress=advance)
    console.print(f"{len(written)} files in {folder}")


def _register(settings: Settings) -> None:
    from retail_platform.lakehouse.landing import register_arrivals

    with _progress("Registering files") as advance:
        registration = register_arrivals(settings, on_file=lambda _, number, total: advance(number, total))
    console.print(f"{registration.accepted} files accepted, {registration.set_aside} set aside")


def _register_and_run(settings: Settings) -> None:
    """Register what is in landing, then run every day that the marts do not hold yet."""
    from retail_platform.status import days_waiting

    _register(settings)
    waiting = days_waiting(settings)
    if not waiting:
        console.print("Nothing to run: the marts hold all of it.")
    for stretch in waiting:
        _report(settings, _run(settings, stretch))


def _run(settings: Settings, days: Days) -> "RunOutcome":
    from retail_platform.runs import run_job

    log = settings.home / "run.log"
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stdout)) as progress:
        task = progress.add_task(f"Running {days.start} to {days.end - ONE_DAY}", total=STEPS)

        def on_step(step: str, event: str) -> None:
            progress.update(task, advance=int(event == "success"), description=f"{step}: {event}")

        # Dagster and dbt talk on both streams; what they say is in the run's log, which the UI shows.
        with log.open("a") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            return run_job(settings, days, on_step)


def _report(settings: Settings, outcome: "RunOutcome") -> None:
    """The figures of a run, or why it failed."""
    console.print(_table("Steps", ["step", "seconds"], [(s, f"{t:.2f}") for s, t in outcome.steps.items()]))
    if not outcome.success:
        for step, error in outcome.failures.items():
            console.print(f"[red]{step}[/red]\n{error}", highlight=False)
        raise click.ClickException(f"run {outcome.run_id} failed; open it in the UI (make dev) or mend and run again.")
    from retail_platform.status import headline

    console.print(_table("What the platform holds", ["figure", "value"], headline(settings)))
    console.print(f"The run took {outcome.seconds:.1f} s. Open next:")
    console.print("  make dev                                     Dagster's UI at http://127.0.0.1:3000")
    console.print('  .venv/bin/retail sql "select * from marts.kpi_overview"')
    console.print(f"  .venv/bin/retail psql                        the warehouse, at {_address(settings)}")


def _address(settings: Settings) -> str:
    from retail_platform.warehouse.server import warehouse_database

    database = warehouse_database(settings)
    return f"host {database.host}, database {database.dbname}"


def _table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> RichTable:
    table = RichTable(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    return table


@contextmanager
def _progress(description: str) -> Iterator[Any]:
    """A bar whose callback takes (done, total)."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)

"""The `retail` command: thin, each command calls one room and prints what it answers."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.settings import CHECKOUT, Settings, get_settings

if TYPE_CHECKING:
    import psycopg

    from retail_platform.contracts import Table
    from retail_platform.runs import RunOutcome

console = Console()
Files = Literal["daily", "monthly", "yearly"]
DAY = click.DateTime(formats=["%Y-%m-%d"])
UI_PORT, API_PORT = 3000, 8000
ROLE = click.Choice(["viewer", "analyst", "operator", "admin"])
DEMO_USER = "analyst"
STOP_SECONDS = 25
"""How long the programs of `retail dev` may take to end before they are killed."""
STEPS = 32
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
    _first_user()


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
@click.option("--port", default=UI_PORT, show_default=True, help="Port of Dagster's UI, on this machine only.")
@click.option("--api-port", default=API_PORT, show_default=True, help="Port of the API, on this machine only.")
def dev(port: int, api_port: int) -> None:
    """Open Dagster's UI with sensors and schedules, and the API, on the embedded services."""
    settings = _prepared()
    ui = f"http://127.0.0.1:{port}"
    console.print(f"Dagster's UI: {ui}   Landing folder: {settings.landing}")
    console.print(f"The API: http://127.0.0.1:{api_port}/docs and /api/graphql   Who may ask: retail user list")
    os.chdir(settings.dagster_home)
    os.environ["RETAIL_DAGSTER_URL"] = ui
    retail = str(Path(sys.executable).with_name("retail"))
    commands = {
        "dagster dev": ["dagster", "dev", "-w", str(CHECKOUT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)],
        "retail serve": [retail, "serve", "--port", str(api_port)],
    }
    sys.exit(_side_by_side(commands))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=API_PORT, show_default=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve the API: REST and GraphQL over the warehouse."""
    import uvicorn

    from retail_platform.serving.access.limits import Limits
    from retail_platform.serving.access.tokens import NoSecretError, token_secret
    from retail_platform.serving.catalogue import read_catalogue

    settings = get_settings()
    try:
        token_secret(settings)
        Limits(settings)
        read_catalogue()
    except (NoSecretError, FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    with TemporaryDirectory(prefix="retail-metrics-") as shared:
        if workers > 1:  # through files in it, the metrics of all workers add up
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        uvicorn.run(
            "retail_platform.serving.app:worker_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=STOP_SECONDS - 5,
        )


@main.group()
def user() -> None:
    """Who may ask the API by name and password."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=ROLE, required=True, help="What the user may do.")
@click.option("--generate", is_flag=True, help="Make a password instead of asking for one.")
def add_user(name: str, role: str, generate: bool) -> None:
    """Add a user."""
    from retail_platform.serving.access import accounts
    from retail_platform.serving.access.principals import Role

    with _accounts() as connection:
        password, made = _password(generate)
        accounts.add_user(connection, name, Role.read(role), password)
    console.print(f"User {name}, role {role}.")
    _print_once(f"Password: {password}", made)


@user.command("list")
def list_users() -> None:
    """List the users."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        rows = accounts.list_users(connection)
    console.print(_table("Users", ["name", "role", "disabled", "created", "open sessions"], rows))


@user.command("password")
@click.argument("name")
@click.option("--generate", is_flag=True, help="Make a password instead of asking for one.")
def set_password(name: str, generate: bool) -> None:
    """Give a user another password, and end the user's sessions."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        password, made = _password(generate)
        accounts.set_password(connection, name, password)
    console.print(f"User {name} has a new password.")
    _print_once(f"Password: {password}", made)


@user.command("role")
@click.argument("name")
@click.argument("role", type=ROLE)
def set_role(name: str, role: str) -> None:
    """Give a user another role, and end the user's sessions."""
    from retail_platform.serving.access import accounts
    from retail_platform.serving.access.principals import Role

    with _accounts() as connection:
        accounts.set_role(connection, name, Role.read(role))
    console.print(f"User {name}, role {role}.")


@user.command()
@click.argument("name")
def disable(name: str) -> None:
    """Shut a user out, within five seconds."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        accounts.set_disabled(connection, name, True)
    console.print(f"User {name} is shut out.")


@user.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let a user in again."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        accounts.set_disabled(connection, name, False)
    console.print(f"User {name} may ask again.")


@main.group()
def key() -> None:
    """Which services may ask the API by a key."""


@key.command("add")
@click.argument("name")
@click.option("--role", type=ROLE, required=True, help="What the service may do.")
@click.option("--expires-days", type=click.IntRange(min=1), help="How long the key holds; for ever unless given.")
def add_key(name: str, role: str, expires_days: int | None) -> None:
    """Make a key for a service."""
    from retail_platform.serving.access import accounts
    from retail_platform.serving.access.principals import Role

    lasts = timedelta(days=expires_days) if expires_days else None
    with _accounts() as connection:
        made = accounts.add_key(connection, name, Role.read(role), lasts)
    console.print(f"Key {name}, role {role}. Send it in the header X-API-Key.")
    _print_once(f"Key: {made}", True)


@key.command("list")
def list_keys() -> None:
    """List the keys, by their public ids."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        rows = accounts.list_keys(connection)
    columns = ["public id", "name", "role", "created", "expires", "revoked", "last used"]
    console.print(_table("Keys", columns, rows))


@key.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End a key, by its name or public id, within five seconds."""
    from retail_platform.serving.access import accounts

    with _accounts() as connection:
        accounts.revoke_key(connection, name)
    console.print(f"Key {name} is revoked.")


@main.group()
def rejects() -> None:
    """Rejected rows: look at them, correct them, release them."""


@rejects.command("list")
@click.option("--day", type=DAY, help="Of this day, yyyy-mm-dd.")
@click.option("--reason", help="With this reason, for example zero_price.")
@click.option("--file", default="", help="Of files whose path holds this text.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="Rows to show.")
@click.option("--all", "everything", is_flag=True, help="Also what is superseded, restated or corrected.")
def list_rejected(day: datetime | None, reason: str | None, file: str, limit: int, everything: bool) -> None:
    """List the rejected rows that can be worked, newest day first."""
    from retail_platform.rejects.book import list_rejects

    found = list_rejects(
        get_settings(), day=day.date() if day else None, reason=reason, file=file, everything=everything
    )
    names = [
        "id",
        "sale_date",
        "reason",
        "invoice_no",
        "stock_code",
        "quantity",
        "unit_price",
        "source_file",
        "source_row",
    ]
    headers = ["id", "day", "reason", "invoice", "stock code", "quantity", "price", "file", "row"]
    _print_columns(headers, found.select(names).head(limit).rows())
    click.echo(f"{min(limit, found.height)} of {found.height} rejected rows. Next: retail rejects show ID")


@rejects.command("show")
@click.argument("row_id", metavar="ID")
def show_rejected(row_id: str) -> None:
    """Show a row as delivered, what to do about it, and its history."""
    from retail_platform.lakehouse.mapping import TEXT_COLUMNS
    from retail_platform.rejects.book import Book

    with _rejecting():
        row = Book(get_settings()).row(row_id)
    values = [(name, row.values[name]) for name in (*TEXT_COLUMNS, "rescued", "sale_date", "source_file", "source_row")]
    told = [("reason", row.reason), ("status", row.status), ("what to do", row.advice)]
    console.print(_table(f"Row {row.id}", ["column", "value"], [*values, *told]))
    click.echo("History (UTC)")
    for event in row.history:
        click.echo(f"{event.at}  {event.what}" + (f", by {event.by}: {event.why}" if event.by else ""))
        click.echo("\n".join(f"    {text}" for text in (event.changes, f"row {event.row}") if text))


SENDING = (
    click.argument("ids", metavar="ID...", nargs=-1, required=True),
    click.option(
        "--set", "values", multiple=True, metavar="COLUMN=VALUE", help="New text of a column; may be repeated."
    ),
    click.option("--by", required=True, help="Who does it."),
    click.option("--why", required=True, help="For what reason."),
    click.option("--run", "run_days", is_flag=True, help="Run what waits afterwards."),
)


def _sending(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of the commands that send rows again."""
    for decorate in reversed(SENDING):
        command = decorate(command)
    return command


@rejects.command()
@_sending
def amend(ids: Sequence[str], values: Sequence[str], by: str, why: str, run_days: bool) -> None:
    """Send rejected rows again with other values."""
    _send("amend", ids, values, by, why, run_days)


@rejects.command()
@_sending
def release(ids: Sequence[str], values: Sequence[str], by: str, why: str, run_days: bool) -> None:
    """Send rejected rows again, with the rule waived that drops them."""
    _send("release", ids, values, by, why, run_days)


def _send(action: str, ids: Sequence[str], values: Sequence[str], by: str, why: str, run_days: bool) -> None:
    from retail_platform.rejects.sending import send_rows

    if odd := [each for each in values if "=" not in each]:
        raise click.BadParameter(f"--set {odd[0]} has no value; write COLUMN=VALUE.")
    changes = {name: text for name, _, text in (each.partition("=") for each in values)}
    if len(changes) < len(values):
        raise click.BadParameter("--set names a column twice; give each one value.")
    settings = _prepared() if run_days else get_settings()
    with _rejecting():
        sent = send_rows(settings, ids, action=action, changes=changes, by=by, why=why)
    beside = f"{sent.restated} line{'' if sent.restated == 1 else 's'} of the same invoices"
    click.echo(f"Sent again: {', '.join(sent.ids)}; with {beside}, in\n{sent.path}")
    if run_days:
        _register_and_run(settings)
    else:
        click.echo(f"Next: retail run --from {sent.days[0]} --to {sent.days[-1]}; make dev does it by itself.")


@contextmanager
def _rejecting() -> Iterator[None]:
    from retail_platform.rejects.book import RejectError

    try:
        yield
    except RejectError as error:
        raise click.ClickException(str(error)) from error


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


class TableName(click.ParamType):  # type: ignore[type-arg]
    """The name of a table of the lake, `layer.table` or `layer/table`."""

    name = "layer.table"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> "Table":
        """The table of that name."""
        from retail_platform.contracts import TABLES

        tables = {str(table): table for table in TABLES}
        name = str(value).replace("/", ".")
        if name not in tables:
            self.fail(f"no table {value!r}; there are {', '.join(tables)}", param, context)
        return tables[name]


MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
TABLE = click.argument("table", type=TableName())
VERSION = click.option("--version", type=click.IntRange(min=0), help="Number of the version.")
AT = click.option("--at", "moment", type=MOMENT, help="As of this time, UTC unless it says +hhmm: yyyy-mm-ddThh:mm:ss.")
SHOWN_ROWS = 20
"""Rows that `retail lake read` prints."""


@main.group()
def lake() -> None:
    """The tables of the lake: their history, older versions of them, their layout."""


@lake.command("history")
@TABLE
@click.option("--limit", default=30, show_default=True, type=click.IntRange(min=1), help="Newest versions to list.")
def show_history(table: "Table", limit: int) -> None:
    """List the versions of a TABLE: when, what, which days, how many rows, by what and from what."""
    from retail_platform.lakehouse.lake import Lake
    from retail_platform.lakehouse.versions import history

    headers = ["version", "time (UTC)", "operation", "days", "rows added", "rows removed", "made by", "made from"]
    commits = history(Lake(get_settings().lake), table, limit)
    _print_columns(
        headers,
        [
            (
                each.version,
                f"{each.at:%Y-%m-%d %H:%M:%S}",
                each.operation,
                "all" if each.days is None else _as_text(each.days),
                each.rows_added,
                each.rows_removed,
                each.made_by,
                ", ".join(f"{name} {version}" for name, version in each.made_from.items()),
            )
            for each in commits
        ],
    )
    if not commits:
        click.echo(f"{table} was never written.")


@lake.command("read")
@TABLE
@VERSION
@AT
@click.option("--from", "start", type=DAY, help="First day, yyyy-mm-dd.")
@click.option("--to", "end", type=DAY, help="Last day, included.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write all rows: .parquet or .csv.")
def read_table(
    table: "Table",
    version: int | None,
    moment: datetime | None,
    start: datetime | None,
    end: datetime | None,
    output: Path | None,
) -> None:
    """Read a TABLE as it is, or as it was: count and first rows, or all rows into a file."""
    import polars as pl

    from retail_platform.lakehouse.lake import Lake
    from retail_platform.lakehouse.versions import require_files

    if (start or end) and table.day is None:
        raise click.BadParameter(f"{table} has no days to choose from; leave --from and --to away.")
    if output and output.suffix not in (".parquet", ".csv"):
        raise click.BadParameter(f"--output {output}: name a file that ends in .parquet or .csv.")
    with _travelling():
        tables = Lake(get_settings().lake)
        chosen = tables.version_at(table, moment) if moment else version
        if (delta := tables.open(table, chosen)) is not None:
            require_files(table, delta)
        last_day = end.date() + ONE_DAY if end else date.max
        days = Days(start.date() if start else date.min, last_day) if start or end else None
        rows = tables.scan(table, days, chosen)
    if output is None:
        shown = rows.head(SHOWN_ROWS).collect()
        _print_columns(shown.columns, shown.rows())
        click.echo(f"{min(SHOWN_ROWS, shown.height)} of {rows.select(pl.len()).collect().item():,} rows")
    elif output.suffix == ".csv":
        rows.sink_csv(output)
    else:
        rows.sink_parquet(output)
    if delta is not None:
        click.echo(f"{table}, version {delta.version()}" + (f", in {output}" if output else ""))


@lake.command("restore")
@TABLE
@VERSION
@AT
def restore_table(table: "Table", version: int | None, moment: datetime | None) -> None:
    """Put back the rows that a TABLE had at a version or a time, as a new version."""
    from retail_platform.lakehouse.lake import Lake
    from retail_platform.lakehouse.versions import restore
    from retail_platform.status import days_waiting
    from retail_platform.warehouse.lock import lake_lock
    from retail_platform.warehouse.server import warehouse_database

    if (version is None) == (moment is None):
        raise click.UsageError("Say which rows: --version N or --at TIME (retail lake history lists the versions).")
    settings = get_settings()
    tables = Lake(settings.lake, made_by="retail lake restore")
    with _travelling(), lake_lock(warehouse_database(settings), lambda: console.print("Another run has the lake.")):
        chosen = tables.version_at(table, moment) if moment else version
        assert chosen is not None
        done = restore(tables, table, chosen)
    if not done.is_changed:
        click.echo(f"{table} holds just the rows of version {chosen}; nothing was changed.")
        return
    click.echo(f"{table} holds the rows of version {chosen} again, as version {done.version}.")
    if done.days is None:
        click.echo("The next run makes it from its sources again, whatever its days: retail run --from DAY --to DAY")
        return
    click.echo(f"{len(done.days)} days differ. They wait for a run, which makes them from the deliveries again:")
    for stretch in days_waiting(settings):
        click.echo(f"  retail run --from {stretch.start} --to {stretch.end - ONE_DAY}")
    click.echo("The arrival sensor asks for them by itself while it is on (make dev).")


@lake.command()
@click.option("--apply", "apply", is_flag=True, help="Do what has won on its sample.")
def advise(apply: bool) -> None:
    """Say which layout the tables and which indexes the warehouse should have, and whether that is faster."""
    from retail_platform.contracts import TABLES
    from retail_platform.lakehouse.lake import Lake
    from retail_platform.lakehouse.layout import advise as advise_tables
    from retail_platform.warehouse.indexes import advise_indexes, statistics_source
    from retail_platform.warehouse.lock import lake_lock
    from retail_platform.warehouse.server import warehouse_database
    from retail_platform.warehouse.tables import prepare_warehouse

    settings = get_settings()
    database = warehouse_database(settings)
    tables = Lake(settings.lake, made_by="retail lake advise")
    with lake_lock(database, lambda: console.print("Another run has the lake; waiting.")):
        with database.connect(autocommit=True) as connection:
            prepare_warehouse(connection)
            source = statistics_source(connection)
        advice = [each.row for each in advise_tables(tables, TABLES, apply)]
        indexes = [
            {"table": each.table, "index": ", ".join(each.columns), "action": each.action, "why": each.why}
            | {each.measure: f"{each.before:.1f} -> {each.after:.1f} ms", "verdict": each.verdict}
            for each in advise_indexes(database, apply)
        ]
    _print_columns(list(advice[0]) if advice else ["table"], [list(row.values()) for row in advice])
    click.echo(f"\nIndexes, by {source}")
    for row in indexes:
        click.echo(", ".join(f"{name}: {value}" for name, value in row.items()))
    if not indexes:
        click.echo("Nothing to change.")
    if not apply:
        click.echo("Do what is worth it: retail lake advise --apply")


def _as_text(days: Sequence[Days]) -> str:
    """Day ranges in few words: the first and last day, and how many days, where there are several."""
    every = sum((each.end - each.start).days for each in days)
    if every == 0:
        return "none"
    first, last = days[0].start, days[-1].end - ONE_DAY
    return str(first) if first == last else f"{first} to {last}" + (f" ({every} days)" if len(days) > 1 else "")


@contextmanager
def _travelling() -> Iterator[None]:
    from retail_platform.lakehouse.lake import VersionGoneError
    from retail_platform.lakehouse.versions import RestoreError

    try:
        yield
    except (VersionGoneError, RestoreError) as error:
        raise click.ClickException(str(error)) from error


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


@main.command()
@click.option("--as-of", "days", type=DAY, required=True, multiple=True, help="The day, yyyy-mm-dd; again for more.")
@click.option("--of", "members", type=click.Choice(["customers", "products"]), default="customers", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A Parquet file.")
def features(days: Sequence[datetime], members: Literal["customers", "products"], output: Path) -> None:
    """Write the features of past days into a Parquet file: each day's from nothing later."""
    from retail_platform.past_features import NoFeaturesError, past_features

    if not output.parent.is_dir():
        raise click.BadParameter(f"--output {output}: no such folder {output.parent}; make it, or name another.")
    try:
        frame = past_features(get_settings(), members, [day.date() for day in days])
    except NoFeaturesError as error:
        raise click.ClickException(str(error)) from error
    frame.write_parquet(output)
    console.print(f"{frame.height} rows of {frame.width} columns in {output}")


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


@contextmanager
def _accounts() -> Iterator["psycopg.Connection"]:
    """A connection that may change users and keys, whose tables are there."""
    from psycopg.errors import InsufficientPrivilege

    from retail_platform.serving.access.accounts import AccountError
    from retail_platform.serving.access.passwords import WeakPasswordError
    from retail_platform.serving.access.tables import prepare_access
    from retail_platform.warehouse.server import warehouse_database

    try:
        with warehouse_database(get_settings()).connect(autocommit=True) as connection:
            prepare_access(connection)
            yield connection
    except (AccountError, WeakPasswordError) as error:
        raise click.ClickException(str(error)) from error
    except InsufficientPrivilege as error:
        raise click.ClickException(f"{error}. Set RETAIL_DATABASE_URL to the login that owns the warehouse.") from error


def _password(generate: bool) -> tuple[str, bool]:
    """A password that was typed, or one made where nobody types, and whether it was made."""
    from retail_platform.serving.access.passwords import new_password

    if generate or not sys.stdin.isatty():
        return new_password(), True
    return click.prompt("Password", hide_input=True, confirmation_prompt=True), False


def _print_once(secret: str, made: bool) -> None:
    if made:
        click.echo(f"{secret}\nIt is shown this once and kept as a hash.")


def _first_user() -> None:
    """Make the demo's user where there is no user at all; the password is in nobody's documentation."""
    from retail_platform.serving.access import accounts
    from retail_platform.serving.access.passwords import new_password
    from retail_platform.serving.access.principals import Role

    with _accounts() as connection:
        if accounts.list_users(connection):
            console.print(f"For another password of the API: retail user password {DEMO_USER}")
            return
        password = new_password()
        accounts.add_user(connection, DEMO_USER, Role.ANALYST, password)
    click.echo(f"The API's user: {DEMO_USER}, password: {password}   (shown this once)")


def _side_by_side(commands: Mapping[str, Sequence[str]]) -> int:
    """Run programs until one of them ends or this process is told to; then end the others.

    Each is the leader of a process group: Ctrl-C reaches this process alone, and each of them is told once.

    Returns:
        The exit code: of the program that ended first, 0 when told to end.
    """
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: signals.append(received))
    running = {name: subprocess.Popen(command, process_group=0) for name, command in commands.items()}
    while not signals and all(process.poll() is None for process in running.values()):
        time.sleep(0.2)
    ended = {name: process.returncode for name, process in running.items() if process.returncode is not None}
    for name, code in ended.items():
        console.print(f"{name} has ended with code {code}; stopping the rest.")
    for process in running.values():
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return next(iter(ended.values()), 0)


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
    console.print("  make dev                                     Dagster's UI at http://127.0.0.1:3000, and the API:")
    console.print(
        "                                               the API at http://127.0.0.1:8000/docs and /api/graphql"
    )
    console.print('  .venv/bin/retail sql "select * from marts.kpi_overview"')
    console.print(f"  .venv/bin/retail psql                        the warehouse, at {_address(settings)}")


def _address(settings: Settings) -> str:
    from retail_platform.warehouse.server import warehouse_database

    database = warehouse_database(settings)
    return f"host {database.host}, database {database.dbname}"


def _print_columns(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows as plain text, each on one line however wide the terminal is, so that ids can be copied."""
    cells = [["" if value is None else " ".join(str(value).split()) for value in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> RichTable:
    table = RichTable(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
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

"""The benchmarks: `python -m retail_platform_tests.benchmarks [PART …]`, and `… compare` for what has moved since.

The API's load (`serving`, beside `bare`) is measured by a command of its own.

Parts, all of them when none is named:

    engines   the real data (RETAIL_REAL_DATA) from landing to marts on each engine, and the same by hand (`peers/`)
    growth    generated lines, 0.1 to 100 million: seconds, processor seconds, memory, bytes on disk
    day       one new day on the lakes of `growth`, and a correction of an old one
    dagster   what Dagster itself takes: process start, planning, between the steps, events

One table on the screen; one JSON file under the history folder for `compare`. No time fails it; a wrong total does.
Every platform has a home of its own, which is removed, its server stopped, whatever happens.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import psutil  # type: ignore[import-untyped]
from rich.console import Console

from retail_platform.settings import CHECKOUT
from retail_platform_tests.benchmarks import history, parts, tables

PARTS = ("engines", "growth", "day", "dagster")
ENGINES = ("polars", "duckdb", "pandas", "spark")
PEERS = ("by hand: Polars", "by hand: DuckDB", "by hand: dbt-postgres")
SIZES = "100_000,1_000_000,10_000_000,100_000_000"
HISTORY = CHECKOUT / ".benchmarks"
"""Outside git: figures of one machine mean nothing on another."""


def machine() -> dict[str, Any]:
    """What figures can be compared by."""
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    return {
        "processor": model or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
    }


def revision() -> str:
    """The commit that is measured, with a mark when files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    return ended.stdout.strip() or "unknown"


class RunByDefault(click.Group):
    """Takes what is no command for the arguments of `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` before them."""
        is_known = bool(args) and args[0] in {*self.commands, "--help"}
        return super().parse_args(ctx, args if is_known else ["run", *args])


@click.group(cls=RunByDefault)
def main() -> None:
    """Measure (`run`, which may be left out), or compare a run with the ones kept (`compare`)."""


@main.command()
@click.argument("names", nargs=-1, metavar="[PART]...", type=click.Choice(PARTS))
@click.option("--engines", default=",".join(ENGINES), show_default=True, help="Engines for the part `engines`.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Also the jobs written by hand.")
@click.option("--repeats", default=1, show_default=True, help="How often `engines`, `day` and `dagster` are measured.")
@click.option("--sizes", default=SIZES, show_default=True, help="Lines for `growth` and `day`.")
@click.option("--marts-up-to", default=10_000_000, show_default=True, help="Larger lakes end at gold.")
@click.option("--scope", type=click.Choice(("star", "gold")), default="gold", show_default=True, help="Of those.")
@click.option("--sample", type=click.IntRange(min=20_000), help="`engines` on a generated sample of so many lines.")
@click.option("--limit", default=5400.0, show_default=True, help="Seconds after which a process is ended.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Folder for homes; default: TMPDIR.")
@click.option("--history", "kept", type=click.Path(file_okay=False, path_type=Path), default=HISTORY)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write growth as a log-log PNG there.")
def run(
    names: Sequence[str],
    engines: str,
    peers: bool,
    repeats: int,
    sizes: str,
    marts_up_to: int,
    scope: str,
    sample: int | None,
    limit: float,
    work: Path | None,
    kept: Path,
    plot: Path | None,
) -> None:
    """Measure parts, print one table and keep the figures."""
    # Ended from outside, the homes are removed and the servers stopped all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    console, chosen = Console(width=tables.WIDTH), names or PARTS
    if work:
        work.mkdir(parents=True, exist_ok=True)
    # As root the embedded server runs as another user, who must get into the folder.
    folder = Path(tempfile.mkdtemp(prefix="retail-bench-", dir=work))
    folder.chmod(0o755)
    bench = parts.Bench(folder, limit)
    rows: list[parts.Row] = []
    try:
        with closing(_measured(bench, chosen, engines, peers, repeats, sizes, marts_up_to, scope, sample)) as measured:
            for row in measured:
                rows.append(row)
                console.print(parts.told(row), highlight=False, markup=False)
    finally:
        shutil.rmtree(folder)
        if rows:
            at = datetime.now(UTC)
            path = history.keep(kept, {"at": at.isoformat(), "machine": machine(), "commit": revision(), "rows": rows})
            for table in tables.show(rows):
                console.print(table)
            console.print(f"Kept as {path}.")
    if plot and "growth" in chosen:
        tables.plot_growth(rows, plot)


def _measured(
    bench: parts.Bench,
    chosen: Sequence[str],
    engines: str,
    peers: bool,
    repeats: int,
    sizes: str,
    marts_up_to: int,
    scope: str,
    sample: int | None,
) -> Generator[parts.Row, None, None]:
    """The rows of the parts, each as soon as it is there, so that an early end loses none."""
    if "engines" in chosen:
        wanted = [name.strip() for name in engines.split(",") if name.strip()]
        yield from parts.engines(bench, wanted, PEERS if peers else (), repeats, sample)
    if "growth" in chosen or "day" in chosen:
        lines = [int(size) for size in sizes.split(",")]
        yield from parts.growth(bench, lines, marts_up_to, scope, repeats if "day" in chosen else 0)
    if "dagster" in chosen:
        yield from parts.dagster(bench, repeats)


@main.command()
@click.option("--history", "kept", type=click.Path(file_okay=False, path_type=Path), default=HISTORY)
@click.option("--newest", default=1, show_default=True, help="How many of the newest files are judged together.")
@click.option("--measure", type=click.Choice(("cpu", "seconds")), default="cpu", show_default=True)
def compare(kept: Path, newest: int, measure: str) -> None:
    """Say which steps have moved since the runs before on the same machine, and by how much. No time fails it."""
    for line in history.moved(kept, newest, measure):
        click.echo(line)


if __name__ == "__main__":
    main()

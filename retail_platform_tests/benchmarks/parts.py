"""The parts of the benchmark, each a list of rows: what was measured, on how much, and what it took."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import polars as pl

from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.sources.sample import write_sample
from retail_platform.warehouse.server import stop_server
from retail_platform_tests.benchmarks import deliveries, peers
from retail_platform_tests.benchmarks.watched import DidNotEndWellError, Watched, inherited, watch

Row = dict[str, Any]
"""part, variant, lines, repeat, figures (`Watched.figures` or `span`), steps (name -> `Watched.span`), and what else
there is to tell; or error instead of figures and steps."""

DAY_LINES = 1_500
"""Lines of a new day: as many as the real shop has."""
MEMORY = "4GiB"
"""RETAIL_MEMORY of the generated lakes: what the platform may plan with, however much the machine has."""
DISK_BYTES = {"star": 260, "gold": 300, "marts": 1_200}
"""A line's: 273 bytes in gold of 100 million lines, 1,136 in the marts of 10 million; delivered files count twice."""
DISK_MARGIN = 5 * 2**30


@dataclass(frozen=True)
class Bench:
    """Where measuring happens, and how many seconds a process may take."""

    folder: Path
    limit: float

    @contextmanager
    def home(self, name: str) -> Iterator[Settings]:
        """A platform with nothing in it; afterwards its server is stopped and its folder removed."""
        settings = Settings(home=self.folder / name, database_url=None, dagster_database_url=None)
        settings.home.mkdir()
        settings.home.chmod(0o755)
        try:
            yield settings
        finally:
            stop_server(settings)
            shutil.rmtree(settings.home)

    def platform(
        self, settings: Settings, phases: Sequence[tuple[str, Sequence[Path], str]], **environment: str
    ) -> tuple[Watched, dict[str, Any]]:
        """Run phases (name, files, scope) on a platform in one new process."""
        plan, out = settings.home / "plan.json", settings.home / "out.json"
        named = [{"name": name, "files": [str(f) for f in files], "scope": scope} for name, files, scope in phases]
        plan.write_text(json.dumps(named))
        command = [sys.executable, "-m", "retail_platform_tests.benchmarks.measured", str(plan), str(out)]
        variables = inherited(settings.home, **environment)
        watched = watch(command, settings.home / "run.log", variables, settings.home, self.limit)
        return watched, json.loads(out.read_text())

    def has_room(self, lines: int, scope: str) -> bool:
        """Whether the disk holds what so many lines become."""
        free = shutil.disk_usage(self.folder).free
        return free > lines * DISK_BYTES[scope] + DISK_MARGIN


def phase_row(part: str, variant: str, lines: int, watched: Watched, phase: dict[str, Any], **more: Any) -> Row:
    """The row of a phase of `measured`: from landing to the end of its last step; what came after the marts, apart."""
    published = phase["steps"].get("publication")
    if published:
        more["after_marts"] = watched.span(published[1], phase["ended"])
    spans = {"land and register": [phase["began"], phase["registered"]], **phase["steps"]}
    return {
        "part": part,
        "variant": variant,
        "lines": lines,
        "figures": watched.span(phase["began"], phase["ended"]),
        "steps": {step: watched.span(*span) for step, span in spans.items()},
        **more,
    }


def failed_row(part: str, variant: str, lines: int, error: object) -> Row:
    """The row of what did not end well."""
    return {"part": part, "variant": variant, "lines": lines, "error": str(error)[-2000:]}


def engines(
    bench: Bench, names: Sequence[str], by_hand: Sequence[str], repeats: int, sample: int | None
) -> Iterator[Row]:
    """The same files from landing to marts on each engine, and by hand; the figures of all have to be equal."""
    files = deliveries.write_files(bench.folder / "files", sample)
    lines = sum(pl.scan_csv(file, infer_schema=False).select(pl.len()).collect().item() for file in files)
    expected: dict[str, Any] = {}
    for repeat in range(repeats):
        for name in (*names, *by_hand):
            if name in names:
                row, found = _engine(bench, name, files, lines)
            elif expected:
                row, found = peers.run(bench, name, files, lines)
            else:
                raise click.ClickException("no engine ended well: there is nothing to compare the others with.")
            _agree(expected, found, name)
            yield row | {"repeat": repeat}


def _engine(bench: Bench, name: str, files: Sequence[Path], lines: int) -> tuple[Row, dict[str, Any]]:
    """The row of an engine, and what its platform holds."""
    if name != "polars" and "engine" not in Settings.model_fields:
        return failed_row("engines", name, lines, "this platform has no setting `engine`: it knows Polars only"), {}
    with bench.home("engine") as settings:
        try:
            watched, out = bench.platform(settings, [("all files", files, "marts")], RETAIL_ENGINE=name)
        except DidNotEndWellError as error:
            return failed_row("engines", name, lines, error), {}
        (phase,) = out["phases"]
        if phase["engine"] not in (name, None):
            return failed_row("engines", name, lines, f"the run says that it used {phase['engine']}"), {}
        row = phase_row("engines", name, lines, watched, phase, process=watched.figures())
        row["figures"] |= {key: value for key, value in watched.figures().items() if key.startswith("peak")}
        peers.write_reference(bench.folder / "reference", Lake(settings.lake))
        return row | {"bytes": bytes_of(settings.home)}, peers.figures_of(settings)


def _agree(expected: dict[str, Any], found: dict[str, Any], name: str) -> None:
    """Raise when figures differ from the first ones: then seconds compare nothing."""
    for figure, value in found.items():
        if expected.setdefault(figure, value) != value:
            raise click.ClickException(
                f"{name}: {figure} is {value}, elsewhere {expected[figure]}; nothing is compared."
            )


def growth(bench: Bench, sizes: Sequence[int], marts_up_to: int, scope: str, days: int) -> Iterator[Row]:
    """Lakes of generated lines, one after the other; on each, new days when asked for.

    Args:
        bench: where.
        sizes: lines of each lake.
        marts_up_to: lakes of at most so many lines go on to the marts.
        scope: where the others end.
        days: how many new days each lake gets.
    """
    for lines in sizes:
        ends = "marts" if lines <= marts_up_to else scope
        if not bench.has_room(lines, ends):
            yield failed_row("growth", f"to {ends}", lines, "the disk has no room for it")
            continue
        with bench.home("growth") as settings:
            part = "growth"
            try:
                yield _grown(bench, settings, lines, ends)
                part = "day"
                yield from _days(bench, settings, lines, ends, days) if days else []
            except DidNotEndWellError as error:
                yield failed_row(part, f"to {ends}", lines, error)


def _grown(bench: Bench, settings: Settings, lines: int, ends: str) -> Row:
    files = write_sample(settings.landing, lines)
    landed = sum(file.stat().st_size for file in files)
    watched, out = bench.platform(settings, [("all files", [], ends)], RETAIL_MEMORY=MEMORY)
    row = phase_row("growth", f"to {ends}", lines, watched, out["phases"][0], process=watched.figures())
    row["figures"] |= {key: value for key, value in watched.figures().items() if key.startswith("peak")}
    return row | {"bytes": bytes_of(settings.home) | {"landed": landed}}


def _days(bench: Bench, settings: Settings, lines: int, ends: str, days: int) -> list[Row]:
    """New days in one process, then a correction of an old one; the first is cold, and told as such."""
    newest = max(settings.landing.glob("*.csv"), key=lambda file: file.stem.rpartition("__")[2])
    new = [deliveries.write_new_day(settings.home, newest, ahead, DAY_LINES) for ahead in range(1, days + 2)]
    late = deliveries.write_correction(settings.home, settings.landing, DAY_LINES)
    phases = [("new day, first of the process", [new[0]]), *(("new day", [file]) for file in new[1:])]
    phases += [("correction of an old day", [late])]
    watched, out = bench.platform(settings, [(name, files, ends) for name, files in phases], RETAIL_MEMORY=MEMORY)
    return [
        phase_row("day", f"{phase['name']}, to {ends}", lines, watched, phase, repeat=number)
        for number, phase in enumerate(out["phases"])
    ]


def dagster(bench: Bench, repeats: int) -> Iterator[Row]:
    """What Dagster itself takes in a run over all days and in one over a day, on few lines: each part by its name."""
    for repeat in range(repeats):
        with bench.home("dagster") as settings:
            files = write_sample(settings.landing, 20_000)
            new = [deliveries.write_new_day(settings.home, files[-1], ahead, DAY_LINES) for ahead in (1, 2)]
            loading = [("739 days", [], "marts"), ("one day, warm", [new[0]], "marts")]
            for phases in (loading, [("one day, new process", [new[1]], "marts")]):
                watched, out = bench.platform(settings, phases)
                for number, phase in enumerate(out["phases"]):
                    starts = out["start"] if number == 0 else {}
                    yield _share(watched, phase, starts) | {"repeat": repeat}


def _share(watched: Watched, phase: dict[str, Any], starts: dict[str, float]) -> Row:
    """Seconds of a phase that belong to Dagster, by where they go; steps' own work apart."""
    spans = sorted(phase["steps"].values())
    first, last = spans[0][0], max(end for _, end in spans)
    work = sum(end - start for start, end in spans)
    seconds = {
        **{f"process start: {name}": value for name, value in starts.items()},
        "planning, to the first step": first - phase["registered"],
        "between the steps": last - first - work,
        "after the last step": phase["ended"] - last,
        "writing events, anywhere": phase["events"],
        "all steps": work,
    }
    row = phase_row("dagster", phase["name"], 20_000, watched, phase)
    # Only seconds: these parts are spread over the run, so that no processor time can be told.
    steps = {name: {"seconds": value, "cpu": value, "cpu_postgres": 0.0} for name, value in seconds.items()}
    return row | {"steps": steps}


def bytes_of(folder: Path) -> dict[str, int]:
    """Bytes on disk by the first folder: landing, deliveries, lake, postgres, …"""
    return {
        part.name: sum(f.lstat().st_size for f in part.rglob("*") if f.is_file() and not f.is_symlink())
        for part in sorted(folder.iterdir())
        if part.is_dir()
    }


def told(row: Row) -> str:
    """A row as a line."""
    if "error" in row:
        return f"{row['part']}, {row['variant']}, {row['lines']:,} lines: {row['error'][-300:]}"
    found = row["figures"]
    return (
        f"{row['part']}, {row['variant']}, {row['lines']:,} lines: {found['seconds']:.1f} s, processor "
        f"{found['cpu']:.1f} + {found['cpu_postgres']:.1f} s, peak {found['peak_mib']:,.0f} MiB"
    )

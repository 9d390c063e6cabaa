"""The figures as one table a part, and growth as a picture."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

WIDTH = 150
"""Characters of a table, also where the terminal is narrower or none."""
SAME_OUTPUTS = (
    "land and register",
    "landing__deliveries",
    "bronze",
    "silver",
    "month_summaries",
    "calendar_and_countries",
    "exchange_rates",
    "dim_product",
    "dim_customer",
    "dim_invoice",
    "fact_sale",
)
"""The platform's steps that write what the jobs by hand write (see `peers/__init__.py`)."""
TO_MARTS = ("warehouse", "dbt_marts", "publication")
UNTIL_MARTS = ("until the marts are published",)
"""Stands for no steps, but for everything before the end of `publication`, from the start of the process."""

Row = dict[str, Any]


def show(rows: Sequence[Row]) -> Iterator[Table]:
    """A table of every part that was measured, then the steps."""
    by_part: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_part[row["part"]].append(row)
    for part, found in by_part.items():
        yield _summary(part, found)
        if part == "engines" and any(row["variant"].startswith("by hand") for row in found):
            yield _ratios(found)
        if part in ("engines", "growth", "dagster"):
            yield _steps(part, found)
        if part == "growth":
            yield _slopes(found)


def _summary(part: str, rows: Sequence[Row]) -> Table:
    table = Table("variant", title=part, title_justify="left")
    for name in (
        "lines",
        "repeats",
        "seconds",
        "to marts",
        "processor s",
        "PostgreSQL s",
        "peak MiB",
        "children",
        "PostgreSQL",
        "MiB on disk",
    ):
        table.add_column(name, justify="right")
    for (variant, lines), same in _grouped(rows).items():
        if all("error" in row for row in same):
            table.add_row(variant, f"{lines:,}", "", f"[red]{same[0]['error'].splitlines()[0][:80]}[/red]")
            continue
        same = [row for row in same if "error" not in row]
        seconds, *processor = (_median(same, name) for name in ("seconds", "cpu", "cpu_postgres"))
        cells = (seconds, _until_marts(same), *processor)
        peaks = (_median(same, name) for name in ("peak_mib", "peak_children_mib", "peak_postgres_mib"))
        disk = sum(size for name, size in same[0].get("bytes", {}).items() if name != "landed") / 2**20
        table.add_row(
            variant,
            f"{lines:,}",
            str(len(same)),
            *("" if value is None else f"{value:,.2f}" for value in cells),
            *("" if value is None else f"{value:,.0f}" for value in peaks),
            f"{disk:,.0f}" if disk else "",
        )
    return table


def _until_marts(rows: Sequence[Row]) -> float | None:
    """The median of the seconds until the marts are published; None where none were."""
    seconds = [row["figures"]["seconds"] - row["after_marts"]["seconds"] for row in rows if "after_marts" in row]
    return statistics.median(seconds) if seconds else None


def _ratios(rows: Sequence[Row]) -> Table:
    """Each engine's steps of the same outputs over the jobs by hand; the whole process over dbt-postgres."""
    measured = {name: [r for r in same if "error" not in r] for (name, _), same in _grouped(rows).items()}
    measured = {name: same for name, same in measured.items() if same}
    hands = [name for name in measured if name.startswith("by hand")]
    table = Table("platform / by hand", title="ratios, of seconds | of processor seconds", title_justify="left")
    for name in hands:
        table.add_column(name, justify="right")
    for engine in (name for name in measured if name not in hands):
        spans = {
            "steps of the same outputs": SAME_OUTPUTS,
            "… and warehouse, marts, publication": (*SAME_OUTPUTS, *TO_MARTS),
            "the whole process until the marts are published": UNTIL_MARTS,
            "the whole process": None,
        }
        for label, steps in spans.items():
            ours = [_total(measured[engine], steps, kind) for kind in ("seconds", "cpu")]
            cells = []
            for hand in hands:
                to_marts = hand.endswith("dbt-postgres")
                if to_marts == (steps is SAME_OUTPUTS):
                    cells.append("")
                    continue
                # Like with like: steps over steps, a process from its start to its end over another.
                whole = steps in (None, UNTIL_MARTS)
                parts = None if whole else [name for name in measured[hand][0]["steps"] if name != "server"]
                theirs = [_total(measured[hand], parts, kind) for kind in ("seconds", "cpu")]
                cells.append(" | ".join(f"{mine / other:.2f}" for mine, other in zip(ours, theirs, strict=True)))
            table.add_row(f"{engine}: {label}", *cells)
    return table


def _total(rows: Sequence[Row], steps: Sequence[str] | None, kind: str) -> float:
    """The median over repeats of the sum of some steps, or of all; processor time with PostgreSQL's."""

    def value(figures: dict[str, float]) -> float:
        return figures["seconds"] if kind == "seconds" else figures["cpu"] + figures["cpu_postgres"]

    if steps is None:
        return statistics.median(value(row.get("process") or row["figures"]) for row in rows)
    if steps is UNTIL_MARTS:
        return statistics.median(value(row["process"]) - value(row["after_marts"]) for row in rows)
    return statistics.median(sum(value(row["steps"][step]) for step in steps if step in row["steps"]) for row in rows)


def _steps(part: str, rows: Sequence[Row]) -> Table:
    """Seconds and processor seconds of each step, a column each."""
    measured = {key: [r for r in same if "error" not in r] for key, same in _grouped(rows).items()}
    measured = {key: same for key, same in measured.items() if same}
    title = f"{part}: seconds of the steps" + ("" if part == "dagster" else " | processor seconds, PostgreSQL's too")
    table = Table("step", title=title, title_justify="left")
    for variant, lines in measured:
        table.add_column(f"{variant}, {lines:,}", justify="right")
    for step in dict.fromkeys(step for same in measured.values() for row in same for step in row["steps"]):
        cells = []
        for same in measured.values():
            found = [row["steps"][step] for row in same if step in row["steps"]]
            if not found:
                cells.append("")
                continue
            seconds = statistics.median(f["seconds"] for f in found)
            cpu = statistics.median(f["cpu"] + f["cpu_postgres"] for f in found)
            cells.append(f"{seconds:.2f}" if part == "dagster" else f"{seconds:.2f} | {cpu:.2f}")
        table.add_row(step, *cells)
    return table


def _slopes(rows: Sequence[Row]) -> Table:
    """How figures grow from each size to the next: the slope in a log-log plot; 1 is in proportion."""
    table = Table("from", "to", title="growth: slope in a log-log plot", title_justify="left")
    names = {"seconds": "seconds", "cpu": "processor s", "peak_mib": "peak MiB"}
    for name in names.values():
        table.add_column(name, justify="right")
    ended = sorted((row for row in rows if "error" not in row), key=lambda row: row["lines"])
    for low, high in pairwise(ended):
        cells = [f"{_slope(low, high, name):.2f}" for name in names]
        told = [f"{row['lines']:,} {row['variant']}" for row in (low, high)]
        table.add_row(*told, *cells)
    return table


def _slope(low: Row, high: Row, name: str) -> float:
    rise = math.log(_figure(high, name) / _figure(low, name))
    return rise / math.log(high["lines"] / low["lines"])


def _figure(row: Row, name: str) -> float:
    found = row["figures"]
    return float(found["cpu"] + found["cpu_postgres"] if name == "cpu" else found[name])


def plot_growth(rows: Sequence[Row], path: Path) -> None:
    """Seconds, processor seconds and peak memory over lines, both axes logarithmic, beside a line of slope 1."""
    from matplotlib.figure import Figure

    ended = sorted((r for r in rows if r["part"] == "growth" and "error" not in r), key=lambda row: row["lines"])
    if not ended:
        return
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    lines = [row["lines"] for row in ended]
    for name, label in (("seconds", "seconds"), ("cpu", "processor seconds")):
        axes[0].loglog(lines, [_figure(row, name) for row in ended], marker="o", label=label)
    first = _figure(ended[0], "seconds")
    axes[0].loglog(lines, [first * n / lines[0] for n in lines], "k:", linewidth=1, label="slope 1")
    told = ", ".join(f"to {ends} up to {max(sizes):,} lines" for ends, sizes in _ends(ended).items())
    figure.suptitle(f"From landing {told}", fontsize=10)
    axes[0].set(xlabel="lines", ylabel="seconds")
    axes[1].loglog(lines, [_figure(row, "peak_mib") for row in ended], marker="o", label="peak MiB")
    axes[1].set(xlabel="lines", ylabel="peak MiB of the process")
    for each in axes:
        each.grid(which="major", alpha=0.3)
        each.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _ends(rows: Sequence[Row]) -> dict[str, list[int]]:
    ends: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        ends[row["variant"].removeprefix("to ")].append(row["lines"])
    return ends


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    grouped: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["variant"], row["lines"]].append(row)
    return grouped


def _median(rows: Sequence[Row], name: str) -> float | None:
    found = [row["figures"][name] for row in rows if name in row["figures"]]
    return statistics.median(found) if found else None

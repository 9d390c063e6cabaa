"""The measured process of the platform: lands files and runs their days in the stored instance, and tells when.

`python -m retail_platform_tests.benchmarks.measured PLAN OUT`, with RETAIL_HOME set. PLAN is JSON, a list of
{"name": …, "files": [path, …], "scope": "star" | "gold" | "marts"}: each is landed (what is in landing already needs no
files), registered and run by itself, in this process. Memory and processor time are watched from outside (`watched`).
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

STARTED = time.time() - psutil.Process().create_time()
"""Seconds from the start of the process to here: Python itself."""

STAR = {
    "landing/deliveries",
    "bronze/sales",
    "bronze/days",
    "silver/sales",
    "silver/rejects",
    "silver/days",
    "silver/product_months",
    "silver/customer_months",
    "gold/dim_date",
    "gold/dim_country",
    "gold/dim_product",
    "gold/dim_customer",
    "gold/dim_invoice",
    "gold/product_category",
    "gold/exchange_rates",
    "gold/fact_sale",
}
"""The star schema and what it is made from; the rest of gold is analytics."""


@contextmanager
def timed_events() -> Iterator[list[float]]:
    """Collect the seconds of every write to Dagster's event log, steps' own events included."""
    from retail_platform.instance.storage import BulkEventLogStorage

    seconds: list[float] = []
    lock = threading.local()
    original = {name: getattr(BulkEventLogStorage, name) for name in ("store_event", "store_event_batch")}

    def timed(write: Callable[..., Any]) -> Callable[..., Any]:
        def store(*arguments: Any) -> Any:
            if getattr(lock, "inside", False):  # a batch that writes its events one by one
                return write(*arguments)
            lock.inside, began = True, time.perf_counter()
            try:
                return write(*arguments)
            finally:
                lock.inside = False
                seconds.append(time.perf_counter() - began)

        return store

    for name, write in original.items():
        setattr(BulkEventLogStorage, name, timed(write))
    try:
        yield seconds
    finally:
        for name, write in original.items():
            setattr(BulkEventLogStorage, name, write)


def selected(scope: str) -> list[Any] | None:
    """The asset keys of a scope; None for all of the job."""
    from retail_platform.definitions import defs

    if scope == "marts":
        return None
    keys = defs.resolve_job_def("run_days").asset_layer.executable_asset_keys
    named = {key.to_user_string(): key for key in keys}
    layers = ("landing", "bronze", "silver", "gold")
    wanted = STAR if scope == "star" else {name for name in named if name.split("/")[0] in layers}
    return [named[name] for name in sorted(wanted)]


def measure(name: str, files: list[str], scope: str) -> dict[str, Any]:
    """Land, register and run files; when each part began and ended."""
    import dagster as dg

    from retail_platform.cli import land
    from retail_platform.contracts import SILVER_DAYS
    from retail_platform.instance.home import open_instance
    from retail_platform.lakehouse.days import Days, waiting_stretches
    from retail_platform.lakehouse.lake import Lake
    from retail_platform.lakehouse.landing import register_arrivals
    from retail_platform.lakehouse.ledger import Ledger
    from retail_platform.runs import run_job
    from retail_platform.settings import get_settings
    from retail_platform.status import days_waiting

    settings, began = get_settings(), time.time()
    land(settings, [Path(file) for file in files])
    register_arrivals(settings)
    if scope == "marts":
        waiting = days_waiting(settings)
    else:  # nothing is published, so what waits is what silver lacks
        held = Lake(settings.lake).day_states(SILVER_DAYS)
        waiting = waiting_stretches(Ledger(settings).fingerprints(), held, settings.first_day)
    registered = time.time()
    with timed_events() as events:
        outcome = run_job(settings, Days(waiting[0].start, waiting[-1].end), lambda *_: None, selected(scope))
    ended = time.time()
    if not outcome.success:
        raise SystemExit(f"{name}: run {outcome.run_id} failed: {outcome.failures}")
    with open_instance(settings) as instance:
        stats = instance.get_run_step_stats(outcome.run_id)
        silver = instance.get_latest_materialization_event(dg.AssetKey(["silver", "sales"]))
    told = silver.asset_materialization.metadata.get("engine") if silver and silver.asset_materialization else None
    spans = sorted((s.start_time, s.end_time, s.step_key) for s in stats if s.start_time and s.end_time)
    return {
        "name": name,
        "scope": scope,
        "began": began,
        "registered": registered,
        "ended": ended,
        "events": sum(events),
        "engine": told.value if told else None,
        "steps": {step: [start, end] for start, end, step in spans},
    }


def main(plan: Path, out: Path) -> None:
    """Load the definitions, then run the plan."""
    began = time.perf_counter()
    from retail_platform.instance.home import prepare_dagster_home
    from retail_platform.settings import get_settings
    from retail_platform.warehouse.server import warehouse_database

    settings = get_settings()
    os.environ.update(prepare_dagster_home(settings))
    imported = time.perf_counter()
    warehouse_database(settings)
    served = time.perf_counter()
    from retail_platform.definitions import defs

    defs.resolve_job_def("run_days")
    loaded = time.perf_counter()
    phases = [measure(**phase) for phase in json.loads(plan.read_text())]
    start = {
        "Python and imports": STARTED + imported - began,
        "PostgreSQL": served - imported,
        "definitions": loaded - served,
    }
    out.write_text(json.dumps({"start": start, "phases": phases}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

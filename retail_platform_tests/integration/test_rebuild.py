"""A rebuild that is killed loses no published day: the next run heals the lake, or is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retail_platform.settings import Settings
from retail_platform_tests.integration.conftest import write_csv

pytestmark = pytest.mark.slow


def line(invoice: str, day: str) -> tuple[object, ...]:
    return (invoice, "85123A", "HEART", 2, f"{day} 10:00:00", "2.50", 17850, "United Kingdom")


def test_a_killed_rebuild_takes_no_published_day_away(make_platform: Callable[[str], Settings], tmp_path: Path) -> None:
    settings = make_platform("rebuild")
    program = str(Path(sys.executable).with_name("retail"))
    environment = {
        **os.environ,
        "RETAIL_HOME": str(settings.home),
        "RETAIL_DATABASE_URL": str(settings.database_url),
        "RETAIL_DAGSTER_DATABASE_URL": str(settings.dagster_database_url),
    }

    def retail(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True)

    def published() -> list[str]:
        answer = retail("sql", "select sale_date from marts.daily_sales order by sale_date", "--json")
        return [row["sale_date"] for row in json.loads(answer.stdout)]

    days = ["2011-11-28", "2011-11-29", "2011-12-01"]
    rows = [line(f"58000{number}", day) for number, day in enumerate(days)]
    first = retail("ingest", str(write_csv(tmp_path / "three__20111202T010000Z.csv", rows)))
    assert first.returncode == 0, first.stdout + first.stderr
    assert published() == days

    process = subprocess.Popen(
        [program, "rebuild"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while settings.lake.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (settings.lake / "silver").exists()

    refused = retail("run", "--from", days[0], "--to", days[0])
    assert refused.returncode == 1
    assert "2 published days are not in the lake" in " ".join(refused.stdout.split())
    assert published() == days

    healed = retail("ingest", str(write_csv(tmp_path / "new__20111203T010000Z.csv", [line("580009", "2011-12-02")])))
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert published() == [*days, "2011-12-02"]

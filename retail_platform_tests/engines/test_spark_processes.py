"""Spark in processes of its own: a cluster, a process that is killed, a class path with Delta's jars."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TypeVar

import pyspark
import pytest
from deltalake import DeltaTable

from retail_platform.contracts import BRONZE_DAYS
from retail_platform.engines.polars import PolarsEngine
from retail_platform.engines.spark import LOCAL, SparkEngine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.transactions import STAGING
from retail_platform.settings import Settings
from retail_platform_tests.engines.chain import MADE, content, land_sample, run_chain
from retail_platform_tests.lakehouse.test_lake import content as days_held
from retail_platform_tests.lakehouse.test_lake import days

Found = TypeVar("Found")

SECONDS = 600
"""How long a process may take to come up, on a machine that is busy."""


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group, with its output in a file; all of the group is ended at the end."""
    local = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **local, **environment}, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    """What a process says that the pattern captures, when it has said it."""
    found = waited(lambda: re.search(pattern, log.read_text()), process, log)
    assert found
    return found.group(1)


def waited(look: Callable[[], Found], process: subprocess.Popen[bytes], log: Path) -> Found:
    """What `look` finds, as soon as it finds something."""
    for _ in range(SECONDS * 10):
        if found := look():
            return found
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A standalone master and two workers on this machine; the master's address."""
    spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    deploy, here = "org.apache.spark.deploy", ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    with ExitStack() as stack:
        log = tmp_path / "master.log"
        started = stack.enter_context(running([spark_class, f"{deploy}.master.Master", *here], log))
        address = said(log, r"Starting Spark master at (spark://127\.0\.0\.1:\d+)", started)
        for name in ("one", "two"):
            log = tmp_path / f"{name}.log"
            size = ("--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / name))
            worker = [spark_class, f"{deploy}.worker.Worker", *here, *size, address]
            said(log, r"(Successfully registered) with master", stack.enter_context(running(worker, log)))
        yield address


@pytest.mark.slow
def test_a_cluster_makes_what_polars_makes(cluster: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", mappings=None)
    settings.landing.mkdir(parents=True)
    land_sample(settings, 5_000, days=40)
    here, there = Lake(tmp_path / "here"), Lake(tmp_path / "there")
    log = tmp_path / "chain.log"
    chain = [sys.executable, "-m", "retail_platform_tests.engines.chain", str(settings.home), str(there.root), cluster]
    with running(chain, log) as process:
        with PolarsEngine() as engine:
            run_chain(settings, here, engine)
        assert process.wait(timeout=SECONDS) == 0, log.read_text()
    for table in MADE:
        assert content(there, table).equals(content(here, table)), table
    # Each worker had an executor.
    assert all(list((tmp_path / name).glob("app-*/*/stderr")) for name in ("one", "two"))
    assert not list(there.root.glob(f"*/*/{STAGING}*"))


KILLED = """
import sys
from datetime import date
from pathlib import Path
import narwhals as nw
from pyspark.sql import functions as sf
from retail_platform.contracts import BRONZE_DAYS
from retail_platform.engines.spark import LOCAL, SparkEngine
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake

engine = SparkEngine("local[2]", 2**30)
day = sf.date_add(sf.lit(date(2011, 1, 1)), (sf.col("id") % 31).cast("int"))
# A thousand tasks, each of which sorts and writes its rows by itself: files come for a long while.
engine.session.conf.set("spark.sql.adaptive.enabled", "false")
rows = engine.session.range(0, 10**7, numPartitions=1000).select(
    sf.lit(date(2011, 1, 1)).alias("sale_month"), day.alias("sale_date"), sf.lit(1).alias("rows"),
    sf.col("id").cast("string").alias("fingerprint"),
)
days = [Days(date(2011, 1, 1), date(2011, 2, 1))]
engine.stage(nw.from_native(rows), Lake(Path(sys.argv[1])), BRONZE_DAYS, days).commit()
"""


@pytest.mark.slow
def test_a_write_that_is_killed_leaves_nothing_that_vacuum_does_not_remove(tmp_path: Path) -> None:
    lake, january = Lake(tmp_path / "lake"), Days(date(2011, 1, 1), date(2011, 2, 1))
    lake.replace_days(BRONZE_DAYS, days((date(2011, 1, 3), "a")), [january])
    table = lake.path(BRONZE_DAYS)
    log, write = tmp_path / "killed.log", [sys.executable, "-c", KILLED, str(lake.root)]
    with running(write, log, TMPDIR=str(tmp_path)) as process:
        waited(lambda: list(table.glob(f"{STAGING}*/_temporary/**/*.parquet")), process, log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert list(table.glob(f"{STAGING}*/**/*.parquet"))
    assert days_held(lake) == {date(2011, 1, 3): "a"}
    with SparkEngine(LOCAL, 2**30) as engine:
        new = engine.lazy(days((date(2011, 1, 4), "b")))
        engine.stage(new, lake, BRONZE_DAYS, [january]).commit()
    DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    named = {file.path for file in lake.files(BRONZE_DAYS)}
    left = {path for path in table.rglob("*") if path.is_file() and "_delta_log" not in path.parts}
    assert left == named
    assert days_held(lake) == {date(2011, 1, 4): "b"}


CHOICE = """
import sys
from pathlib import Path
from retail_platform.contracts import BRONZE_DAYS
from retail_platform.engines.spark import SparkEngine, has_delta_jars
from retail_platform.lakehouse.lake import Lake

engine = SparkEngine("local[1]", 2**29)
print("Delta's jars:", has_delta_jars(engine.session))
engine.scan(Lake(Path(sys.argv[1])), BRONZE_DAYS)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("javac") is None, reason="needs javac, to make a jar")
def test_with_deltas_jars_on_the_class_path_tables_are_read_through_them(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.replace_days(BRONZE_DAYS, days((date(2011, 1, 3), "a")), [Days(date(2011, 1, 1), date(2011, 2, 1))])
    source = tmp_path / "io" / "delta" / "tables" / "DeltaTable.java"
    source.parent.mkdir(parents=True)
    source.write_text("package io.delta.tables; public class DeltaTable {}")
    subprocess.run(["javac", "--release", "17", str(source)], check=True)
    with zipfile.ZipFile(tmp_path / "delta.jar", "w") as jar:
        jar.write(source.with_suffix(".class"), "io/delta/tables/DeltaTable.class")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text(f"spark.jars {tmp_path / 'delta.jar'}\n")
    log = tmp_path / "choice.log"
    with running([sys.executable, "-c", CHOICE, str(lake.root)], log, SPARK_CONF_DIR=str(tmp_path / "conf")) as process:
        assert process.wait(SECONDS) == 1
    # The jar holds the name by which they are known, and no reader.
    assert "Delta's jars: True" in log.read_text()
    assert "Failed to find the data source: delta" in log.read_text()

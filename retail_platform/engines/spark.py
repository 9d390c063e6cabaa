"""Spark: the engine of what outgrows one machine.

It reads and writes Delta tables without Delta's jars: the log tells which Parquet files a table has (`lakehouse.lake`),
the executors read and write those, and one transaction of delta-rs shows what they wrote. Where the jars are on the
class path (`spark.jars` in spark-defaults.conf, or $SPARK_HOME/jars) tables are read through them. Writing stays as it
is: the jars show what they write at once, before its checks, take one `txnAppId` a commit where a commit of ours names
several sources, and keep `userMetadata` apart from the metadata that `Lake.changed_days` reads. Reading through the
jars follows Delta's documentation (`format("delta")`, `versionAsOf`) and has not been run: they are in no package of
Python's, so that tests show the choice, not what it reads.

Every machine of a cluster needs the lake under the same path.
"""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import polars.selectors as cs
from typing_extensions import override

from retail_platform.contracts import Table
from retail_platform.engines.base import Engine, EngineError, Staged
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.transactions import DataFile, Replacement

try:
    from dagster_pyspark import LazyPySparkResource
    from py4j.java_gateway import JavaClass
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql import functions as sf
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType
except ModuleNotFoundError as missing:
    raise EngineError(f"The Spark engine needs {missing.name}: pip install 'retail-platform[spark]'.") from missing

LOCAL = "local[*]"
"""The master of a session without a cluster: this process, on all its cores."""

MOST_BROADCAST = 256 * 2**20
"""Bytes of a dimension that is sent whole to every executor; a join with a larger one moves the rows of both sides."""

MASTER_SECONDS = 10
"""How long a cluster's master may take to answer."""

LOCAL_SHUFFLE_PARTITIONS = "32"
"""Of a session without a cluster, where Spark's 200 cost more than they spread; Spark merges those that stay small."""


class SparkEngine(Engine):
    """Data frames of the Spark session of this process, which is started for the first one and stays."""

    name = "spark"

    def __init__(self, master: str, memory: int) -> None:
        """Take the session.

        Args:
            master: `local[*]`, or the address of a cluster: `spark://host:7077`.
            memory: bytes of the driver's heap, which without a cluster is all the memory Spark has.

        Raises:
            EngineError: Java is missing, the cluster does not answer, or the process has a session elsewhere.
        """
        self.session = spark_session(master, memory)
        self._reads_delta = has_delta_jars(self.session)
        self._persisted: list[DataFrame] = []
        self._begun: list[Replacement] = []

    def close(self) -> None:
        """Let go of persisted rows, and remove files that were staged and not committed; the session stays."""
        for frame in self._persisted:
            frame.unpersist()
        for replacement in self._begun:
            replacement.discard()
        self._persisted, self._begun = [], []

    @override
    def scan(
        self,
        lake: Lake,
        table: Table,
        days: Days | Sequence[Days] | None = None,
        *,
        undated: bool = False,
        version: int | None = None,
    ) -> nw.LazyFrame[Any]:
        ranges = [days] if isinstance(days, Days) else days
        if self._reads_delta and lake.version(table) is not None:
            frame = self._read_delta(lake.path(table), table, version)
        else:
            frame = self._read_files(lake, table, lake.files(table, ranges, version, undated=undated))
        return _narwhals(frame if ranges is None else frame.where(_is_of(table, ranges, undated)))

    @override
    def lazy(self, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        handed = self._hand_over(frame)
        return _narwhals(sf.broadcast(handed) if frame.estimated_size() <= MOST_BROADCAST else handed)

    @override
    def persist(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        # In the executors' memory and, beyond it, on their disks. Files of our own would also need a place that all
        # of them share, and removing after a kill; of these Spark itself takes care, and makes lost ones again.
        persisted = _native(frame).persist()
        self._persisted.append(persisted)
        return _narwhals(persisted)

    @override
    def collect(self, frame: nw.LazyFrame[Any], schema: pl.Schema | None = None) -> pl.DataFrame:
        wanted = frame if schema is None else frame.select(*schema)
        collected = pl.DataFrame(pl.from_arrow(_native(wanted).toArrow()))
        return collected if schema is None else collected.cast(schema)

    @override
    def stage(
        self,
        frame: nw.LazyFrame[Any],
        lake: Lake,
        table: Table,
        days: Sequence[Days],
        *,
        undated: bool = False,
    ) -> Staged:
        replacement = lake.begin_replacement(table, days, undated=undated)
        self._begun.append(replacement)
        rows = _of_contract(_native(frame), table)
        if replacement.mixed:
            of_other_days = ~_is_of(table, days, undated=False)
            rows = rows.unionAll(self._read_files(lake, table, replacement.mixed).where(of_other_days))
        # Rebalanced: a few files of a sensible size for each month, however many the executors are; a large month is
        # cut, small ones share a task. Sorted: readers of a day leave out most of a file.
        balanced = rows.hint("rebalance", str(table.month)).sortWithinPartitions(str(table.month), str(table.day))
        balanced.write.partitionBy(str(table.month)).parquet(str(replacement.folder))
        return SparkStaged(lake, replacement, self._begun)

    def _read_files(self, lake: Lake, table: Table, files: Sequence[DataFile]) -> DataFrame:
        """The rows of some of a table's files; a column that a file does not have yet is null."""
        root = lake.path(table)
        if not files:
            return self._hand_over(table.empty())
        reader = self.session.read.schema(_struct(table.empty())).option("basePath", str(root))
        return reader.parquet(*(str(file.path) for file in files)).select(*table.schema)

    def _read_delta(self, root: Path, table: Table, version: int | None) -> DataFrame:
        """The same of all the table's files, by Delta's own reader; the filter on the month leaves files out."""
        reader = self.session.read.format("delta")
        frame = (reader if version is None else reader.option("versionAsOf", version)).load(str(root))
        later = [sf.lit(None).alias(name) for name in table.schema if name not in frame.columns]
        return _of_contract(frame.select("*", *later), table)

    def _hand_over(self, frame: pl.DataFrame) -> DataFrame:
        signed = frame.cast({cs.unsigned_integer(): pl.Int64})
        return self.session.createDataFrame(
            signed.to_arrow(compat_level=pl.CompatLevel.oldest()), schema=_struct(signed)
        )


class SparkStaged(Staged):
    """Rows in Parquet files beside those of the table, which no commit names yet."""

    def __init__(self, lake: Lake, replacement: Replacement, begun: list[Replacement]) -> None:
        self._lake, self._replacement, self._begun = lake, replacement, begun

    @override
    def rows(self, days: Sequence[Days] | None = None, *, undated: bool = False) -> pl.DataFrame:
        replacement, table = self._replacement, self._replacement.table
        files = replacement.files()
        if not files:
            return table.empty()
        month, day = str(table.month), str(table.day)
        asked = replacement.days if days is None else days
        has_none = pl.col(month).is_null() & (undated or days is None)
        of_asked = (pl.col(day).is_between(*each, closed="left") for each in asked)
        frame = pl.scan_parquet(files, hive_partitioning=True, hive_schema={month: pl.Date})
        return frame.select(*table.schema).filter(pl.any_horizontal(has_none, *of_asked)).collect().cast(table.schema)

    @override
    def commit(self, consumed: Mapping[str, int] | None = None) -> int:
        version = self._lake.commit_replacement(self._replacement, consumed)
        self._begun.remove(self._replacement)
        return version


def spark_session(master: str, memory: int) -> SparkSession:
    """The session of this process, which is started by the first call, through Dagster's resource for Spark.

    Args:
        master: `local[*]`, or the address of a cluster.
        memory: bytes of the driver's heap.

    Raises:
        EngineError: Java is missing, the cluster does not answer, or the process has a session elsewhere.
    """
    _require_java()
    _require_answer(master)
    # What runs Python code on an executor has to be the Python that wrote it.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        session: SparkSession = LazyPySparkResource(spark_config=spark_config(master, memory)).spark_session
    except (PySparkException, Py4JError) as error:
        raise EngineError(f"Spark did not start with master {master}, and says why above: {error}") from error
    if session.sparkContext.master != master:
        raise EngineError(
            f"This process has a Spark session on {session.sparkContext.master} already; {master} needs another one."
        )
    return session


def spark_config(master: str, memory: int) -> dict[str, str]:
    """What a session is started with; spark-defaults.conf may say the rest.

    Args:
        master: `local[*]`, or the address of a cluster.
        memory: bytes of the driver's heap.
    """
    config = {
        "spark.master": master,
        "spark.app.name": "retail-platform",
        "spark.driver.memory": f"{memory // 2**20}m",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "128m",
        "spark.sql.adaptive.autoBroadcastJoinThreshold": str(MOST_BROADCAST),
    }
    if master.startswith("local"):
        here = "127.0.0.1"
        config |= {
            "spark.driver.bindAddress": here,
            "spark.driver.host": here,
            "spark.local.dir": tempfile.gettempdir(),
            "spark.sql.shuffle.partitions": LOCAL_SHUFFLE_PARTITIONS,
        }
    return config


def has_delta_jars(session: SparkSession) -> bool:
    """Whether Delta's jars are on the class path of the session."""
    java: Any = session.sparkContext._jvm
    return isinstance(java.io.delta.tables.DeltaTable, JavaClass)


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=f"{home}/bin" if home else None) is None:
        place = f"in JAVA_HOME={home}" if home else "on PATH"
        raise EngineError(
            f"The Spark engine needs Java 17 or newer, and there is none {place}: install a JRE "
            "(apt-get install openjdk-17-jre-headless)."
        )


def _require_answer(master: str) -> None:
    """Ask the masters of a standalone cluster whether they are there: Spark itself takes a minute to give up."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=MASTER_SECONDS):
                return
        except OSError:
            continue
    raise EngineError(f"No Spark master answers at {master}: start it, or say another one in RETAIL_SPARK_MASTER.")


def _struct(frame: pl.DataFrame) -> StructType:
    """The types of a frame as Spark's; a time without a zone stays one, which by itself Spark takes for UTC."""
    schema = frame.clear().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return from_arrow_schema(schema, prefer_timestamp_ntz=True)


def _of_contract(frame: DataFrame, table: Table) -> DataFrame:
    return frame.select(*(sf.col(field.name).cast(field.dataType) for field in _struct(table.empty())))


def _is_of(table: Table, days: Sequence[Days], undated: bool) -> Column:
    """Whether a row is of one of the days, or, where asked, has none."""
    month, day = sf.col(str(table.month)), sf.col(str(table.day))
    ranges = [(month >= start.replace(day=1)) & (month < end) & (day >= start) & (day < end) for start, end in days]
    return reduce(or_, ranges, month.isNull() if undated else sf.lit(False))


def _narwhals(frame: DataFrame) -> nw.LazyFrame[Any]:
    return nw.from_native(frame)


def _native(frame: nw.LazyFrame[Any]) -> DataFrame:
    native: DataFrame = frame.to_native()
    return native

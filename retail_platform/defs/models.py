"""dbt in Dagster: models, seeds and snapshots as assets, data tests as asset checks, dbt run in the run's own process.

The graph is read from the manifest that `dbt parse` writes, and dbt is imported when a run needs it: importing it, and
dagster-dbt, which imports all of it, takes longer than everything else that a load of the definitions does. A test
compares what is made here with what dagster-dbt makes of the same manifest.

What is done around a build (which days, publishing) stays out (`marts`).
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_platform.defs.layers import OWNERS, asset_key
from retail_platform.settings import CHECKOUT
from retail_platform.warehouse.publish import BUILD

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunner

PROJECT = CHECKOUT / "dbt_project"
MANIFEST = PROJECT / "target" / "manifest.json"

Json = Mapping[str, Any]


def read_manifest() -> Json:
    """What dbt knows of the project; parsed anew first when a file of the project is newer."""
    sources = (
        path for path in PROJECT.rglob("*.*") if path.suffix in (".sql", ".yml", ".md", ".csv") and path.is_file()
    )
    newest = max(path.stat().st_mtime for path in sources if "target" not in path.parts)
    if not MANIFEST.exists() or MANIFEST.stat().st_mtime < newest:
        from dagster_dbt import DbtProject

        # dagster-dbt looks for the program `dbt` on the PATH, where a virtual environment that is not active has none.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        project = DbtProject(PROJECT)
        project.preparer.prepare(project)
    manifest: Json = json.loads(MANIFEST.read_bytes())
    return manifest


def asset_keys(manifest: Json) -> dict[str, dg.AssetKey]:
    """The asset of each model, snapshot and source, and for each data test the asset that it is a check of.

    Args:
        manifest: as `read_manifest` gives it.

    Returns:
        Key by the id that dbt has for the node.

    Raises:
        ValueError: a test of several models does not say whose check it is.
    """
    members = {**manifest["nodes"], **manifest["sources"]}
    return {name: _key(members[_tested(node)]) if _is_test(node) else _key(node) for name, node in members.items()}


def model_specs(manifest: Json) -> list[dg.AssetSpec]:
    """The assets of the models, seeds and snapshots.

    Args:
        manifest: as `read_manifest` gives it.
    """
    keys = asset_keys(manifest)
    return [
        dg.AssetSpec(
            keys[name],
            deps=[keys[upstream] for upstream in node["depends_on"].get("nodes", ())],
            description="\n\n".join([node["description"], *_raw_sql(node)]),
            metadata={
                "dagster/column_schema": _column_schema(node),
                "dagster/table_name": f"{node['schema']}.{node['name']}",
            },
            group_name="marts",
            code_version=node["checksum"]["checksum"],
            owners=OWNERS,
            kinds={"dbt", "postgres"},
        )
        for name, node in manifest["nodes"].items()
        if not _is_test(node)
    ]


def data_test_specs(manifest: Json) -> list[dg.AssetCheckSpec]:
    """The asset checks of the data tests; unit tests are none, as they look at no data.

    Args:
        manifest: as `read_manifest` gives it.
    """
    keys = asset_keys(manifest)
    return [
        dg.AssetCheckSpec(
            test["name"],
            asset=keys[name],
            additional_deps={keys[upstream] for upstream in test["depends_on"]["nodes"]} - {keys[name]},
            description=test["description"] or None,
            blocking=test["config"]["severity"].lower() == "error",
        )
        for name, test in manifest["nodes"].items()
        if _is_test(test)
    ]


def build(
    runner: "dbtRunner", keys: Mapping[str, dg.AssetKey], target: Path, environment: Mapping[str, str]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Build and test all models in this process; dbt tells of it on standard output.

    Args:
        runner: runs dbt's commands.
        keys: as `asset_keys` gives them.
        target: folder in which dbt keeps the parsed project from one build to the next, and the SQL it ran.
        environment: what the project reads: the address of the warehouse, and the days to replace.

    Yields:
        What was built and tested, also when the build has failed.

    Raises:
        dagster.Failure: a model or a test failed. The step is retried unless it was a test: the data will be the same.
        Exception: what kept dbt from building anything, for example a database that does not answer.
    """
    from dbt.artifacts.schemas.run import RunExecutionResult

    folders = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", target, "--log-path", target]
    # JSON artifacts and a log file of everything cost half a second a build, and nothing reads them.
    outputs = ["--no-write-json", "--log-level-file", "none", "--no-use-colors"]
    with _environment(environment):
        outcome = runner.invoke(["build", "--exclude-resource-type", "unit_test", *map(str, folders), *outputs])
    if not isinstance(outcome.result, RunExecutionResult):
        raise outcome.exception or RuntimeError("dbt says neither what it built nor why it built nothing.")
    # Exposures are results too.
    results = [result for result in outcome.result.results if result.status != "no-op"]
    yield from (event for result in results for event in _reported(result, keys[result.node.unique_id]))
    if not outcome.success:
        failed = [result for result in results if result.status not in ("success", "pass", "warn", "skipped")]
        raise dg.Failure(
            description="\n".join(f"{result.node.name}: {result.message}" for result in failed),
            allow_retries=not any(result.status == "fail" for result in failed),
        )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables set, as dbt reads no other parameters without parsing the whole project again."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _is_test(node: Json) -> bool:
    return bool(node["resource_type"] == "test")


def _key(node: Json) -> dg.AssetKey:
    """The schema that a relation is read from, and its name: marts are built in another one than they are read in."""
    schema = node["source_name"] if node["resource_type"] == "source" else node["schema"]
    return asset_key("marts" if schema == BUILD else schema, node["name"])


def _tested(test: Json) -> str:
    """The id of the model that a test is a check of."""
    upstream: list[str] = test["depends_on"]["nodes"]
    name = test["config"]["meta"].get("dagster", {}).get("ref", {}).get("name")
    named = [node for node in upstream if node == test.get("attached_node") or node.split(".")[-1] == name]
    if len(named) != 1 and len(upstream) != 1:
        raise ValueError(
            f"The dbt test {test['name']} is of several models, {upstream}, and does not say whose check it is: "
            "add {{ config(meta={'dagster': {'ref': {'name': '<model>'}}}) }} to it, with one of them."
        )
    return (named or upstream)[0]


def _raw_sql(node: Json) -> list[str]:
    """The SQL of a model; a seed has none."""
    return [f"#### Raw SQL:\n```sql\n{node['raw_code']}\n```"] if node["raw_code"] else []


def _column_schema(node: Json) -> dg.TableSchema:
    columns = node["columns"].values()
    return dg.TableSchema(
        columns=[dg.TableColumn(c["name"], c["data_type"] or "?", description=c["description"]) for c in columns]
    )


def _reported(result: Any, key: dg.AssetKey) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """What a run says of one of dbt's results; nothing of a node that was skipped or a model that failed."""
    status, node = str(result.status), result.node
    metadata = {"Execution Duration": result.execution_time, "unique_id": node.unique_id, "status": status}
    if node.resource_type != "test":
        if status == "success":
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
    elif status != "skipped":
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=node.name,
            passed=status == "pass",
            severity=dg.AssetCheckSeverity.WARN if status == "warn" else dg.AssetCheckSeverity.ERROR,
            description=result.message,
            metadata={**metadata, "failed_row_count": result.failures or 0},
        )

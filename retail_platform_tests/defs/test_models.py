"""dbt in Dagster: the graph is the one dagster-dbt makes, and a build says what passed before it says what failed."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import build_dbt_specs
from dbt.cli.main import dbtRunner

from retail_platform.defs import models
from retail_platform.defs.models import asset_keys, build, data_test_specs, model_specs, read_manifest
from retail_platform.warehouse.connection import Database

MANIFEST = read_manifest()


class Translator(DagsterDbtTranslator):
    """dagster-dbt's own view of the project, with marts named as readers know them."""

    def get_asset_key(self, dbt_resource_props: Any) -> dg.AssetKey:
        """The schema that is read from, and the name."""
        key = super().get_asset_key(dbt_resource_props)
        return dg.AssetKey(["marts" if part == "marts_build" else part for part in key.path])


@pytest.fixture(scope="module")
def theirs() -> tuple[dict[dg.AssetKey, dg.AssetSpec], dict[dg.AssetCheckKey, dg.AssetCheckSpec]]:
    """Assets and checks that dagster-dbt makes of the manifest."""
    specs, checks = build_dbt_specs(
        translator=Translator(),
        manifest=MANIFEST,
        select="fqn:*",
        exclude="",
        selector="",
        io_manager_key=None,
        project=None,
    )
    return {spec.key: spec for spec in specs}, {check.key: check for check in checks}


def test_assets_are_those_of_dagster_dbt(theirs: Any) -> None:
    ours = {spec.key: spec for spec in model_specs(MANIFEST)}
    assert ours.keys() == theirs[0].keys()
    for key, spec in ours.items():
        assert {dep.asset_key for dep in spec.deps} == {dep.asset_key for dep in theirs[0][key].deps}
        assert spec.kinds == theirs[0][key].kinds
        assert spec.metadata["dagster/column_schema"] == theirs[0][key].metadata["dagster/column_schema"]


def test_checks_are_those_of_dagster_dbt(theirs: Any) -> None:
    ours = {check.key: check for check in data_test_specs(MANIFEST)}
    assert ours.keys() == theirs[1].keys()
    for key, check in ours.items():
        assert {dep.asset_key for dep in check.additional_deps} == {
            dep.asset_key for dep in theirs[1][key].additional_deps
        }
        assert check.blocking == theirs[1][key].blocking


def test_every_data_test_is_a_check_that_blocks() -> None:
    tests = {node["name"] for node in MANIFEST["nodes"].values() if node["resource_type"] == "test"}
    assert {check.name for check in data_test_specs(MANIFEST) if check.blocking} == tests
    assert len(tests) >= 11


def test_a_test_of_several_models_says_whose_check_it_is() -> None:
    name = "test.retail.assert_months_agree_in_every_mart"
    silent = {**MANIFEST["nodes"][name], "config": {"meta": {}}}
    with pytest.raises(ValueError, match="does not say whose check it is"):
        asset_keys({**MANIFEST, "nodes": {**MANIFEST["nodes"], name: silent}})


MODELS = {
    "models/one.sql": "select 1 as id",
    "models/two.sql": "select id from {{ ref('one') }}",
    "tests/assert_one.sql": "select * from {{ ref('one') }} where id != 1",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two models and a test, in the place of the platform's."""
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(models.PROJECT / name, tmp_path / name)
    shutil.copytree(models.PROJECT / "macros", tmp_path / "macros")
    for name, text in MODELS.items():
        write(tmp_path, name, text)
    monkeypatch.setattr(models, "PROJECT", tmp_path)
    return tmp_path


def write(project: Path, name: str, text: str) -> None:
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(text)


def built(project: Path, database: Database) -> tuple[list[Any], dg.Failure | None]:
    """What a build yields, and what it then fails with."""
    ids = ("model.retail.one", "model.retail.two", "test.retail.assert_one")
    keys = {name: dg.AssetKey(["marts", name.split(".")[-1].removeprefix("assert_")]) for name in ids}
    events = []
    try:
        for event in build(dbtRunner(), keys, project / "target", database.environment()):
            events.append(event)
    except dg.Failure as failure:
        return events, failure
    return events, None


def materialised(events: list[Any]) -> set[str]:
    return {event.asset_key.path[-1] for event in events if isinstance(event, dg.MaterializeResult)}


def checks(events: list[Any]) -> list[dg.AssetCheckResult]:
    return [event for event in events if isinstance(event, dg.AssetCheckResult)]


def test_a_build_reports_models_and_tests(project: Path, fresh_database: Database) -> None:
    events, failure = built(project, fresh_database)
    assert failure is None
    assert materialised(events) == {"one", "two"}
    assert [(check.check_name, check.passed) for check in checks(events)] == [("assert_one", True)]
    assert all("Execution Duration" in event.metadata for event in events)


def test_a_failed_test_fails_the_build_and_is_not_tried_again(project: Path, fresh_database: Database) -> None:
    write(project, "models/one.sql", "select 2 as id")
    events, failure = built(project, fresh_database)
    assert materialised(events) == {"one"}, "what depends on a bad model is not built"
    (check,) = checks(events)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["failed_row_count"].value == 1
    assert failure is not None
    assert "assert_one: Got 1 result, configured to fail if != 0" in str(failure.description)
    assert not failure.allow_retries


def test_a_warning_fails_its_check_only(project: Path, fresh_database: Database) -> None:
    write(project, "models/one.sql", "select 2 as id")
    write(project, "tests/assert_one.sql", "{{ config(severity='warn') }}" + MODELS["tests/assert_one.sql"])
    events, failure = built(project, fresh_database)
    assert failure is None
    assert materialised(events) == {"one", "two"}
    assert [(check.passed, check.severity) for check in checks(events)] == [(False, dg.AssetCheckSeverity.WARN)]


def test_a_failed_model_fails_the_build(project: Path, fresh_database: Database) -> None:
    write(
        project, "models/two.sql", "select 1 / (id - 1) as id from {{ ref('one') }}{{ config(materialized='table') }}"
    )
    events, failure = built(project, fresh_database)
    assert materialised(events) == {"one"}
    assert failure is not None
    assert "division by zero" in str(failure.description)
    assert failure.allow_retries


def test_a_project_that_does_not_parse_says_so(project: Path, fresh_database: Database) -> None:
    write(project, "models/two.sql", "select * from {{ ref('nowhere') }}")
    with pytest.raises(Exception, match="nowhere"):
        built(project, fresh_database)

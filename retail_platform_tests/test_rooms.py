"""The rule of rooms: imports run one way, read from the source without importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import retail_platform

PACKAGE = Path(retail_platform.__file__).parent

BELOW: dict[str, set[str]] = {
    "settings": set(),
    "contracts": set(),
    "reference": set(),
    "providers": {"reference"},
    "lakehouse": {"contracts", "settings"},
    "warehouse": {"contracts", "settings"},
    "sources": {"lakehouse"},
    "transforms": {"contracts", "lakehouse.days", "lakehouse.mapping"},
    "engines": {"contracts", "lakehouse", "settings"},
    "instance": {"settings", "warehouse"},
    "defs": {
        "contracts",
        "engines",
        "lakehouse",
        "providers",
        "reference",
        "rejects",
        "serving.catalogue",
        "serving.selections",
        "settings",
        "transforms",
        "warehouse",
    },
    "rejects": {"contracts", "lakehouse", "settings", "transforms"},
    "definitions": {"defs"},
    "past_features": {"contracts", "lakehouse", "settings", "transforms"},
    "status": {"contracts", "lakehouse", "settings", "warehouse"},
    "runs": {"definitions", "defs.partitions", "instance", "lakehouse.days", "settings"},
    "serving": {
        "contracts",
        "instance.client",
        "lakehouse",
        "reference",
        "settings",
        "transforms.countries",
        "warehouse",
    },
    "cli": {
        "contracts",
        "instance",
        "lakehouse",
        "rejects",
        "past_features",
        "serving",
        "settings",
        "sources",
        "runs",
        "status",
        "warehouse",
    },
}
"""What each room may import besides itself: whole rooms, or single modules of one."""

# Without dagster_pyspark: engines/spark.py starts its session by that package's builder, in any process.
ORCHESTRATION = {"dagster", "dagster_dbt", "dagster_graphql", "dagster_postgres"}
USES_DAGSTER = {"defs", "definitions", "instance", "runs"}

PURE = ("contracts", "transforms")
PURE_LIBRARIES = {
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "duckdb",  # hashes, on frames in memory
    "functools",
    "holidays",
    "json",  # texts in memory
    "importlib",  # to keep pandera from importing pandas
    "itertools",
    "math",
    "narwhals",
    "numpy",
    "pandera",
    "polars",
    "scipy",
    "sklearn",
    "statsforecast",
    "statsmodels",
    "sys",
    "types",
    "typing",
}
"""Libraries without I/O of their own, or whose I/O would show as a call of `READS_OR_WRITES`."""
READS_OR_WRITES = ("open", "read_", "scan_", "write_", "sink_", "print")


def modules() -> list[str]:
    """Every module of the package, without the package's own name."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    names = (".".join(path.parts).removesuffix("__init__").rstrip(".") for path in paths)
    return sorted(name for name in names if name)


def tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """The modules that a module imports, anywhere in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield str(node.module)


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_is_named() -> None:
    assert {room(module) for module in modules()} == BELOW.keys()


@pytest.mark.parametrize("module", modules())
def test_a_module_knows_only_the_rooms_below_it(module: str) -> None:
    own = {name.removeprefix("retail_platform.") for name in imports(module) if name.startswith("retail_platform.")}
    allowed = BELOW[room(module)] | {room(module)}
    assert [name for name in own if name not in allowed and room(name) not in allowed] == []


@pytest.mark.parametrize("module", [module for module in modules() if room(module) not in USES_DAGSTER])
def test_only_the_orchestration_imports_dagster(module: str) -> None:
    assert {room(name) for name in imports(module)} & ORCHESTRATION == set()


@pytest.mark.parametrize("module", [module for module in modules() if room(module) in PURE])
def test_contracts_and_transforms_do_no_input_or_output(module: str) -> None:
    others = {room(name) for name in imports(module)} - PURE_LIBRARIES - {"retail_platform"}
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    names = [call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls]
    assert others == set()
    assert [name for name in names if name.startswith(READS_OR_WRITES)] == []

"""Features as assets: made again when they are declared otherwise, as every table of closed days is."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from shutil import copytree

import dagster as dg
import pytest

import retail_platform
from retail_platform.contracts import CUSTOMER_FEATURE, PRODUCT_FEATURE, SILVER_SALES
from retail_platform.contracts.features import feature_contract
from retail_platform.contracts.product_features import PRODUCT_FEATURES
from retail_platform.defs import closed
from retail_platform.defs.features import features
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform_tests.transforms.test_features import LINES

NEWEST = PRODUCT_FEATURES[-1].name
KEYS = {name: (PRODUCT_FEATURE.schema[name], "Key.") for name in list(PRODUCT_FEATURE.schema)[: -len(PRODUCT_FEATURES)]}
OLDER = replace(PRODUCT_FEATURE, contract=feature_contract("Older", "Older.", KEYS, PRODUCT_FEATURES[:-1]))
"""The table before its newest feature was declared."""


def run(lake: Lake) -> list[int | None]:
    """Run the asset; the versions of its tables."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([features], resources={"lake": lake}, instance=instance).success
    return [lake.version(table) for table in (CUSTOMER_FEATURE, PRODUCT_FEATURE)]


def test_a_new_feature_is_made_on_a_platform_that_has_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    lake.replace_days(SILVER_SALES, LINES, [Days(date(2010, 1, 1), date(2012, 1, 1))])
    first = run(lake)
    assert run(lake) == first
    expected = lake.scan(PRODUCT_FEATURE).collect()
    assert expected[NEWEST].null_count() < expected.height

    position = lake.position(SILVER_SALES)
    monkeypatch.setattr(closed, "_code", lambda: "of the older platform")
    lake.path(PRODUCT_FEATURE).rename(tmp_path / "aside")
    lake.replace(OLDER, expected.drop(NEWEST), consumed=position, note=closed.fingerprint(""))
    assert lake.scan(PRODUCT_FEATURE).collect().width == expected.width
    monkeypatch.undo()
    run(lake)
    assert lake.scan(PRODUCT_FEATURE).collect().equals(expected)


@pytest.mark.parametrize("changed", ["contracts/product_features.py", "transforms/baskets.py", "reference/products.py"])
def test_a_changed_declaration_formula_or_reference_is_noticed(tmp_path: Path, changed: str) -> None:
    package = Path(retail_platform.__file__).parent
    for name in closed.MADE_BY:
        copytree(package / name, tmp_path / name)
    before = closed.content_of(tmp_path)
    assert before == closed.content_of(package)
    with (tmp_path / changed).open("a") as file:
        file.write("MINIMUM_PAIRS = 7\n")
    assert closed.content_of(tmp_path) != before

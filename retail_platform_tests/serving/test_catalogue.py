"""The catalogue says what contracts and manifest say."""

import json
from pathlib import Path

import pytest

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, Table
from retail_platform.serving.catalogue import MANIFEST, Kind, read_catalogue
from retail_platform.warehouse.tables import warehouse_columns, warehouse_key

CATALOGUE = read_catalogue()


@pytest.mark.parametrize("table", GOLD_TABLES, ids=lambda table: table.name)
def test_gold_is_as_its_contract_says(table: Table) -> None:
    served = CATALOGUE[table.name]
    assert tuple(served.columns) == warehouse_columns(table)
    assert served.key == warehouse_key(table)
    assert {name: column.description for name, column in served.columns.items()} == {
        name: table.descriptions[name] for name in served.columns
    }


def test_every_mart_is_served_and_described() -> None:
    nodes = json.loads(MANIFEST.read_bytes())["nodes"].values()
    models = {node["name"] for node in nodes if node["schema"] == "marts_build" and node["resource_type"] == "model"}
    marts = [table for table in CATALOGUE.values() if table.schema == "marts"]
    assert {mart.name for mart in marts} == models
    for mart in marts:
        assert mart.description
        assert mart.key
        assert all(column.description for column in mart.columns.values()), mart.name


def test_sales_lead_to_every_dimension_and_back() -> None:
    relations = CATALOGUE["fact_sale"].relations
    assert {name: relation.target for name, relation in relations.items()} == {
        "product": "dim_product",
        "customer": "dim_customer",
        "date": "dim_date",
        "invoice": "dim_invoice",
        "country": "dim_country",
    }
    for name, relation in relations.items():
        assert f"{name}_key" in FACT_SALE.references
        assert CATALOGUE[relation.target].relations["fact_sales"].is_many


def test_what_tells_who_a_customer_is() -> None:
    assert {table.name for table in CATALOGUE.values() if table.is_personal} == {
        "dim_customer",
        "customer_feature",
        "customer_lifetime",
        "customer_segment_month",
        "customer_value",
    }
    assert [column.name for column in CATALOGUE["fact_sale"].columns.values() if column.is_personal] == ["customer_key"]


def test_a_new_mart_need_not_say_which_columns_are_personal(tmp_path: Path) -> None:
    column = {"name": "best_customer_id", "data_type": "text", "description": "", "constraints": []}
    day = {"name": "day", "data_type": "date", "description": "", "constraints": [{"type": "primary_key"}]}
    mart: dict[str, object] = {
        "resource_type": "model",
        "schema": "marts_build",
        "name": "new",
        "description": "",
        "constraints": [],
    }
    mart["columns"] = {each["name"]: each for each in (day, column)}
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": {"model.new": mart}}))
    table = read_catalogue(tmp_path / "manifest.json")["new"]
    assert [each.name for each in table.columns.values() if each.is_personal] == ["best_customer_id"]


def test_keys_are_not_counts() -> None:
    columns = CATALOGUE["dim_country"].columns
    assert (columns["country_key"].kind, columns["population"].kind) == (Kind.KEY, Kind.COUNT)
    assert CATALOGUE["fact_sale"].columns["date_key"].kind is Kind.INTEGER


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make setup"):
        read_catalogue(tmp_path / "manifest.json")


def test_a_mart_without_a_primary_key_is_refused(tmp_path: Path) -> None:
    model = {"resource_type": "model", "schema": "marts_build", "name": "loose", "constraints": [], "columns": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": {"model.loose": model}}))
    with pytest.raises(ValueError, match="loose has 0 primary keys"):
        read_catalogue(tmp_path / "manifest.json")

"""The tables served: names, columns, types, descriptions and how they are linked, for every face at once.

Gold tables come from the contracts, marts from dbt's manifest: a new mart is served by being built. What a request may
ask of a table is in `query/`; how a face shows it is in `graphql/` and `rest/`.
"""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from retail_platform.contracts import GOLD_TABLES, Table
from retail_platform.settings import CHECKOUT
from retail_platform.warehouse.tables import NATURAL_KEYS, warehouse_columns, warehouse_key

MANIFEST = CHECKOUT / "dbt_project" / "target" / "manifest.json"

PERSONAL_COLUMNS = ("customer_id", "customer_key")
"""Columns whose names end so (`customer_id`, `best_customer_id`) tell who a customer is, in whatever table they are: by
name, so that a new mart need not say it."""

PERSONAL_PREFIXES = ("top_customer_", "repeat_customer_share")
"""Columns whose names begin so tell what a single customer bought, or how few customers came back."""

HEAD_COUNTS = ("customer_count", "cohort_size")
"""Columns with one of these in their names (`new_customer_count`, `customer_count_90d`) count customers."""


class Kind(Enum):
    """What a column holds, as far as clients and filters have to know."""

    TEXT = "text"
    INTEGER = "integer"
    """At most 32 bits."""
    COUNT = "count"
    """A bigint that counts: a JSON number."""
    KEY = "key"
    """A bigint surrogate key: a JSON string, as many clients' integers are too short."""
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    LOCAL_TIME = "local_time"
    """Wall-clock time of the shop, without a zone."""
    INSTANT = "instant"
    """A moment in UTC."""
    UUID = "uuid"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """A column of a served table.

    Attributes:
        name: as in the database.
        postgres_type: for casts and table definitions.
        is_personal: whether it tells of a single customer: masked for those who may not see customers.
        counts_customers: whether it is a number of customers: null for them where there are few.
    """

    name: str
    kind: Kind
    postgres_type: str
    nullable: bool
    description: str
    is_personal: bool
    counts_customers: bool = False

    @property
    def comes_as_null(self) -> bool:
        """Whether it may be null for somebody."""
        return self.nullable or self.is_personal or self.counts_customers


@dataclass(frozen=True)
class Relation:
    """A way from a table's row along a foreign key: to one row, or, against its direction, to many.

    Attributes:
        name: of the field, for example `product` from fact_sale, `fact_sales` from dim_product.
        target: name of the served table at its other end.
        column: of this table.
        target_column: of the other.
        is_many: whether it goes against the foreign key.
    """

    name: str
    target: str
    column: str
    target_column: str
    is_many: bool


@dataclass(frozen=True)
class ServedTable:
    """A table that may be asked.

    Attributes:
        name: unique over all schemas.
        schema: `gold`, `marts` or `platform`.
        key: primary key; the last columns of every sort, so that pages have no ties.
        columns, relations: by name, in order.
        is_personal: whether a row is a customer: refused to those who may not see customers.
    """

    name: str
    schema: str
    description: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    relations: Mapping[str, Relation]
    is_personal: bool


class Catalogue(Mapping[str, ServedTable]):
    """Served tables by name. It never changes, so what is made of it is kept by its identity."""

    def __init__(self, tables: Iterable[ServedTable]) -> None:
        self._tables = {table.name: table for table in tables}

    def __getitem__(self, name: str) -> ServedTable:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@cache
def read_catalogue(manifest: Path = MANIFEST) -> Catalogue:
    """What is served: the gold tables, then the marts by name, then how new they are; read once per process.

    Args:
        manifest: that dbt wrote of the project.

    Raises:
        FileNotFoundError: dbt has not written its manifest.
        ValueError: a mart has no primary key, a column of a type that is not served, or a relation whose name is taken.
    """
    tables = [*map(_gold_table, GOLD_TABLES), *_marts(manifest), _freshness()]
    links = [*_gold_links(), *_mart_links(tables)]
    versions = list(_version_relations(tables))
    return Catalogue(
        _related(table, links, [each for name, each in versions if name == table.name]) for table in tables
    )


@dataclass(frozen=True)
class _Link:
    """A foreign key, or what holds like one."""

    table: str
    column: str
    target: str
    target_column: str


def _gold_table(table: Table) -> ServedTable:
    columns = [
        _column(name, table.postgres_types[name], table.nullable[name], table.descriptions[name])
        for name in warehouse_columns(table)
    ]
    description = inspect.cleandoc(table.contract.__doc__ or "")
    return _served(table.name, table.layer, description, warehouse_key(table), columns)


def _marts(manifest: Path) -> list[ServedTable]:
    if not manifest.exists():
        raise FileNotFoundError(f"{manifest} is not there: dbt has not read the project. Run `make setup`.")
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    models = [node for node in nodes if node["resource_type"] == "model" and node["schema"] == "marts_build"]
    return [_mart(model) for model in sorted(models, key=lambda model: str(model["name"]))]


def _mart(model: Mapping[str, Any]) -> ServedTable:
    key = _mart_key(model)
    columns = [
        _column(name, column["data_type"], name not in key and not _says(column, "not_null"), column["description"])
        for name, column in model["columns"].items()
    ]
    return _served(model["name"], "marts", model["description"].strip(), key, columns)


def _mart_key(model: Mapping[str, Any]) -> tuple[str, ...]:
    keys = [constraint["columns"] for constraint in model["constraints"] if constraint["type"] == "primary_key"]
    keys += [[name] for name, column in model["columns"].items() if _says(column, "primary_key")]
    if len(keys) != 1:
        raise ValueError(f"mart {model['name']} has {len(keys)} primary keys; name one in the constraints of its .yml")
    return tuple(keys[0])


def _says(column: Mapping[str, Any], constraint: str) -> bool:
    return any(said["type"] == constraint for said in column["constraints"])


def _freshness() -> ServedTable:
    columns = [
        _column("version", "bigint", False, "Number of the publication that the marts are of; 0 before the first."),
        _column("published_at", "timestamptz", True, "When the marts were published; null before the first time."),
        _column("loaded_at", "timestamptz", True, "When gold was loaded; null before the first time."),
        _column("newest_sale_date", "date", True, "Newest day with a sale in gold; null without any."),
        _column("waiting_day_count", "bigint", False, "Days loaded into gold that the marts do not show yet."),
    ]
    return _served("freshness", "platform", "How new the data are: one row.", ("version",), columns)


def _served(name: str, schema: str, description: str, key: tuple[str, ...], columns: list[Column]) -> ServedTable:
    by_name = {column.name: column for column in columns}
    return ServedTable(name, schema, description, key, by_name, {}, is_personal=any(map(_is_personal, key)))


def _column(name: str, postgres_type: str, nullable: bool, description: str) -> Column:
    kind = _KINDS.get(postgres_type.partition("(")[0])
    if kind is None:
        raise ValueError(f"column {name} has type {postgres_type}, which is not served; add it to _KINDS")
    if kind is Kind.COUNT and name.endswith("_key"):
        kind = Kind.KEY
    counts_customers = any(part in name for part in HEAD_COUNTS)
    return Column(name, kind, postgres_type, nullable, description, _is_personal(name), counts_customers)


_KINDS = {
    "text": Kind.TEXT,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.COUNT,
    "numeric": Kind.DECIMAL,
    "double precision": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp without time zone": Kind.LOCAL_TIME,
    "timestamp": Kind.LOCAL_TIME,
    "timestamp with time zone": Kind.INSTANT,
    "timestamptz": Kind.INSTANT,
    "uuid": Kind.UUID,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
}


def _gold_links() -> Iterator[_Link]:
    for table in GOLD_TABLES:
        for column, reference in table.references.items():
            yield _Link(table.name, column, *reference.split("."))


def _mart_links(tables: list[ServedTable]) -> Iterator[_Link]:
    """A mart's column that is a dimension's key by its name leads to that dimension."""
    dimensions = {table.key[0]: table.name for table in tables if table.name.startswith("dim_")}
    for table in tables:
        if table.schema == "marts":
            for column in sorted(table.columns.keys() & dimensions.keys()):
                yield _Link(table.name, column, dimensions[column], column)


def _version_relations(tables: list[ServedTable]) -> Iterator[tuple[str, Relation]]:
    """A mart with a row per member of a dimension that has versions leads to these, and each of them to its row.

    Yields:
        Name of the table, and its relation.
    """
    for dimension, (member, *rest) in NATURAL_KEYS.items():
        for table in tables if rest == ["valid_from"] else ():
            if table.key == (member,):
                yield table.name, Relation("versions", dimension, member, member, is_many=True)
                yield dimension, Relation(table.name, table.name, member, member, is_many=False)


def _related(table: ServedTable, links: list[_Link], further: list[Relation]) -> ServedTable:
    one = [
        Relation(link.column.removesuffix("_key"), link.target, link.column, link.target_column, is_many=False)
        for link in links
        if link.table == table.name
    ]
    many = [
        Relation(_plural(link.table), link.table, link.target_column, link.column, is_many=True)
        for link in links
        if link.target == table.name
    ]
    relations = [*one, *many, *further]
    names = [*table.columns, *(relation.name for relation in relations)]
    if taken := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{table.name} has several columns or relations named {sorted(taken)}; rename the column")
    return replace(table, relations={relation.name: relation for relation in relations})


def _plural(name: str) -> str:
    return name if name.endswith("s") else f"{name}s"


def _is_personal(column: str) -> bool:
    return column.endswith(PERSONAL_COLUMNS) or column.startswith(PERSONAL_PREFIXES)

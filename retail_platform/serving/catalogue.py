"""The tables served: names, columns, types, descriptions and how they are linked, for every face at once.

Gold tables come from the contracts, marts from dbt's manifest: a new mart is served by being built. What a request may
ask of a table is in `query/`; how a face shows it is in `graphql/` and `rest/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


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
        is_personal: whether it tells who a customer is: masked for those who may not see customers.
    """

    name: str
    kind: Kind
    postgres_type: str
    nullable: bool
    description: str
    is_personal: bool


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
        schema: `gold` or `marts`.
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


Catalogue = Mapping[str, ServedTable]
"""Served tables by name."""

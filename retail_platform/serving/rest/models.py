"""What REST answers look like in OpenAPI: models of rows, made from the catalogue, and of their envelopes.

They document; answers are made by PostgreSQL and not checked against them (a test does that).
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from retail_platform.serving.catalogue import Column, Kind

_LOCAL_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$"}

_TYPES: dict[Kind, tuple[Any, Any]] = {
    Kind.TEXT: (str, None),
    Kind.INTEGER: (int, 12),
    Kind.COUNT: (int, 1042),
    Kind.KEY: (str, "4183906175243961217"),
    Kind.DECIMAL: (Annotated[Decimal, WithJsonSchema({"type": "number"})], 1234.5600),
    Kind.FLOAT: (float, 51.5),
    Kind.BOOLEAN: (bool, False),
    Kind.DATE: (date, "2011-11-30"),
    Kind.LOCAL_TIME: (Annotated[datetime, WithJsonSchema(_LOCAL_TIME)], "2011-11-30T09:26:00"),
    Kind.INSTANT: (datetime, "2026-01-02T03:04:05Z"),
    Kind.UUID: (UUID, "2f1c6a34-9f0e-5a7b-8a52-6a7d8b1f0c11"),
    Kind.JSON: (Any, None),
}
"""Type and example of a column of each kind."""

DECIMALS = (
    "Amounts are exact decimal numbers, written in full (`1234.5600`): read them with a parser that keeps decimals "
    "where the last digit matters. Keys are strings, as they are longer than many clients' integers."
)


class Pagination(BaseModel):
    """Where a page stands among the others."""

    page: int = Field(description="Number of the page, from 1.")
    size: int = Field(description="Most rows of a page.")
    total: int = Field(description="Rows over all pages.")
    pages: int = Field(description="Pages there are.")
    has_next: bool = Field(description="Whether a page follows.")
    has_prev: bool = Field(description="Whether a page comes before.")


class KeysetPagination(BaseModel):
    """Where to go on."""

    size: int = Field(description="Most rows of a page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
    has_next: bool = Field(description="Whether rows follow.")
    total: int | None = Field(None, description="Rows over all pages; where `include_total` asked for it.")


class GroupPagination(BaseModel):
    """Where a page of groups stands."""

    page: int = Field(description="Number of the page, from 1.")
    size: int = Field(description="Most groups of a page.")
    has_next: bool = Field(description="Whether a page follows.")


def row_model(name: str, columns: Mapping[str, Column], *, optional: bool = False) -> type[BaseModel]:
    """The model of a row.

    Args:
        name: of the model in OpenAPI.
        columns: by their names in the answer.
        optional: whether a request chooses the columns, and may ask for others.
    """
    fields: dict[str, Any] = {}
    for column_name, column in columns.items():
        kind, example = _TYPES[column.kind]
        written = kind | None if column.comes_as_null else kind
        examples = None if example is None else [example]
        fields[column_name] = (
            written,
            Field(None if optional else ..., description=column.description, examples=examples),
        )
    config = ConfigDict(extra="allow" if optional else "ignore", protected_namespaces=())
    return create_model(name, __config__=config, **fields)


def list_model(name: str, row: Any, pagination: Any = Pagination, **members: Any) -> type[BaseModel]:
    """The model of an answer with rows: `data`, `pagination`, `filters_applied` and further members."""
    fields: dict[str, Any] = {
        "data": (list[row], Field(description="The rows.")),
        "pagination": (pagination, Field(description="Where the page stands among the others.")),
        **members,
        "filters_applied": (dict[str, Any], Field(description="The filters, as they were read.")),
    }
    return create_model(name, **fields)

"""The scalars of the schema, and which one shows what a column holds.

They check nothing: values are read where filters are, so that both faces say the same of a wrong one.
"""

from collections.abc import Mapping
from typing import Any, NewType

import strawberry
from graphql import BooleanValueNode, FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode
from strawberry.types.scalar import ScalarDefinition

from retail_platform.serving.catalogue import Kind

DecimalText = NewType("DecimalText", str)
KeyText = NewType("KeyText", str)
BigCount = NewType("BigCount", int)
Day = NewType("Day", str)
LocalTime = NewType("LocalTime", str)
Moment = NewType("Moment", str)
Uuid = NewType("Uuid", str)
Json = NewType("Json", object)


def _read_literal(node: ValueNode, _variables: Mapping[str, Any] | None = None) -> Any:
    """A literal as it is written: numbers keep every digit."""
    if isinstance(node, IntValueNode | FloatValueNode | StringValueNode | BooleanValueNode):
        return node.value
    raise GraphQLError("Expected a number, a text or a boolean.", node)


def _scalar(name: str, description: str) -> ScalarDefinition:
    return strawberry.scalar(
        name=name, description=description, parse_value=lambda value: value, parse_literal=_read_literal
    )


SCALARS: dict[object, ScalarDefinition] = {
    DecimalText: _scalar("Decimal", 'An exact number, answered as text: "19.9900". Written as text or as a number.'),
    KeyText: _scalar("Key", "A surrogate key: an integer of 64 bits, answered as text."),
    BigCount: _scalar("BigInt", "An integer of 64 bits that counts something, answered as a number."),
    Day: _scalar("Date", 'A day in ISO 8601: "2011-11-30".'),
    LocalTime: _scalar("LocalDateTime", 'Wall-clock time of the shop, without a zone: "2011-11-30T13:05:00".'),
    Moment: _scalar("DateTime", 'A moment, with its offset from UTC: "2011-11-30T13:05:00+00:00".'),
    Uuid: _scalar("UUID", "A UUID in its usual form."),
    Json: _scalar("JSON", "Any JSON value."),
}

TYPES: Mapping[Kind, object] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.COUNT: BigCount,
    Kind.KEY: KeyText,
    Kind.DECIMAL: DecimalText,
    Kind.FLOAT: float,
    Kind.BOOLEAN: bool,
    Kind.DATE: Day,
    Kind.LOCAL_TIME: LocalTime,
    Kind.INSTANT: Moment,
    Kind.UUID: Uuid,
    Kind.JSON: Json,
}
"""The Python type that stands for a column's scalar in the schema."""

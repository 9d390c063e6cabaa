"""Query strings: read by a pydantic model, and shown in OpenAPI by the same model.

FastAPI's own query models are not used: they read each request again, where here the plan of a query string that was
read before is at hand (`answers`), and they cannot show the columns of a table as parameters.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema

from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import NUMBER

MAX_PARAMETERS = 200

IN_TEXT = "text"
"""Validation context of a query string, in which lists and objects are text; in a JSON body they are what they are."""

WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)

DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

LIMITS = {"size", "top_n"}
"""Parameters that are a number of rows."""


class Parameters(BaseModel):
    """The parameters of a route; one that is not a field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


def _list(written: object, info: ValidationInfo) -> object:
    if info.context is IN_TEXT and isinstance(written, str):
        return [part.strip() for part in written.split(",")]
    return written


def _flag(written: object, info: ValidationInfo) -> object:
    if info.context is IN_TEXT and written in ("true", "false"):
        return written == "true"
    if not isinstance(written, bool):
        raise ValueError("expected true or false")
    return written


def _day(written: object) -> object:
    # Pydantic takes a bare number for seconds since 1970, and Python weeks of years for days.
    if isinstance(written, str) and DAY.fullmatch(written):
        return date.fromisoformat(written)
    if isinstance(written, date):
        return written
    raise ValueError("expected a day as 2011-01-31")


def _whole(written: object, info: ValidationInfo) -> object:
    if info.context is IN_TEXT and isinstance(written, str) and not WHOLE.fullmatch(written):
        raise ValueError("expected a whole number")
    return written


def _amount(written: object) -> object:
    if isinstance(written, str) and not NUMBER.fullmatch(written):
        raise ValueError("expected a number")
    return written


def _json(written: object, info: ValidationInfo) -> object:
    try:
        return orjson.loads(written) if info.context is IN_TEXT and isinstance(written, str) else written
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


TextList = Annotated[tuple[str, ...], BeforeValidator(_list)]
"""In a query string separated by commas."""

Flag = Annotated[bool, BeforeValidator(_flag)]

Day = Annotated[date, BeforeValidator(_day)]

Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, in digits."""

Amount = Annotated[
    Decimal, BeforeValidator(_amount), WithJsonSchema({"type": ["number", "string"], "pattern": f"^{NUMBER.pattern}$"})
]
"""An exact number."""

JsonObject = Annotated[dict[str, Any], BeforeValidator(_json)]
"""In a query string written as JSON."""


class Paging(Parameters):
    """Numbered pages."""

    page: Whole = Field(1, ge=1, le=10**9, description="Number of the page, from 1.")
    size: Whole = Field(50, ge=1, description="Rows of a page.")


def read_parameters(model: type[P], query_string: str) -> P:
    """Read a query string.

    Args:
        model: its parameters.
        query_string: as it came, percent-encoded.

    Returns:
        The parameters, checked.

    Raises:
        QuestionError: the first parameter that is wrong, unknown or given twice; it says what may be there.
    """
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise QuestionError("parameters", f"there are more than {MAX_PARAMETERS}") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise QuestionError(twice, "it is given twice; several values are written once, separated by commas")
    try:
        return model.model_validate(given, context=IN_TEXT)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"])) or "parameters"
        if first["type"] == "extra_forbidden":
            raise unknown_parameter(name, model.model_fields) from None
        text = f"{first['input']!r:.100}: " if first["type"] != "missing" else ""
        raise QuestionError(name, text + first["msg"].removeprefix("Value error, ")) from None


def unknown_parameter(name: str, known: Iterable[str]) -> QuestionError:
    """The error about a name that is no parameter."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return QuestionError(name[:100], f"there is no such parameter; there may be {', '.join(names)}.{meant}")


def openapi_parameters(model: type[Parameters], max_page_size: int) -> list[dict[str, Any]]:
    """The model's fields as OpenAPI shows parameters.

    Args:
        model: of a query string.
        max_page_size: the largest of `LIMITS`, which is a setting.
    """
    schema = model.model_json_schema()
    return [
        openapi_parameter(name, _written(each), name in schema.get("required", ()))
        for name, each in schema.get("properties", {}).items()
    ]


def openapi_parameter(name: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    """A parameter of OpenAPI; a list is written with commas, an object as JSON."""
    description = schema.pop("description", "")
    shown: dict[str, Any] = {"name": name, "in": "query", "required": required, "description": description}
    if examples := schema.pop("examples", None):
        shown["example"] = examples[0]
    if schema.get("type") == "object":
        return {**shown, "content": {"application/json": {"schema": schema}}}
    if schema.get("type") == "array":
        shown |= {"style": "form", "explode": False}
    return {**shown, "schema": schema}


def _written(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of what may be written: without null, which nobody can write in a query string."""
    flat = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    if "anyOf" in schema:
        flat |= next(each for each in schema["anyOf"] if each.get("type") != "null")
    if flat.get("default") is None:
        flat.pop("default", None)
    return flat

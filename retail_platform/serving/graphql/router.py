"""GraphQL over HTTP at `/api/graphql`: POST and GET, and for browsers the GraphiQL page.

Lives here: media types, statuses, entity tags, what the audit log is told. Stays out: what a request asks (`requests`),
and what is answered (`operations`).
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from graphql import GraphQLError

from retail_platform.serving.access.principals import principal_of
from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.database import TooSlowError, Warehouse, WarehouseError
from retail_platform.serving.direct import DirectRoute
from retail_platform.serving.etags import etag, is_fresh
from retail_platform.serving.graphql import page
from retail_platform.serving.graphql.errors import FORBIDDEN
from retail_platform.serving.graphql.limits import Limits
from retail_platform.serving.graphql.operations import Operations, Plan, RequestError
from retail_platform.serving.graphql.requests import Asked, MalformedError, Persisted, read_get, read_post
from retail_platform.serving.query.shapes import Encoding
from retail_platform.settings import Settings

PATH = "/api/graphql"

MEDIA_TYPE = "application/graphql-response+json"
LEGACY_MEDIA_TYPE = "application/json"
"""For clients that ask for nothing else; by GraphQL over HTTP, its status is 200 also when there are errors."""

ENCODINGS = {sees: Encoding(decimals_as_text=True, masks_customers=not sees) for sees in (True, False)}
HEADERS = {
    "Cache-Control": "private, max-age=0, must-revalidate",
    "Vary": "Accept, Authorization, X-API-Key, Accept-Encoding",
}
STATUSES = {FORBIDDEN: 403, "TIMEOUT": 504, "UNAVAILABLE": 503}
"""By the code of the first error; 400 for all others."""


def router(catalogue: Catalogue, settings: Settings) -> APIRouter:
    """The routes of GraphQL.

    Args:
        catalogue: the tables served.
        settings: the limits in them.
    """
    limits = Limits(settings.graphql_max_depth, settings.graphql_max_values, settings.max_page_size)
    face = _Face(Operations(catalogue, limits))
    routes = APIRouter(tags=["GraphQL"])
    routes.add_api_route(PATH, face.post, methods=["POST"], route_class_override=DirectRoute, **_POST)
    routes.add_api_route(PATH, face.get, methods=["GET"], route_class_override=DirectRoute, **_GET)
    routes.add_api_route(f"{PATH}/assets/{{name}}", page.asset, methods=["GET"], include_in_schema=False)
    return routes


class _Face:
    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.persisted = Persisted()

    async def post(self, request: Request) -> Response:
        return await self._answer(request, read_post)

    async def get(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return page.graphiql()
        return await self._answer(request, _read_get)

    async def _answer(self, request: Request, read: Callable[[Request], Awaitable[Asked]]) -> Response:
        sees_customers = principal_of(request).sees_customers
        try:
            asked = await read(request)
            plan = self._plan(asked, sees_customers)
            return await _executed(request, plan, sees_customers)
        except RequestError as error:
            return _refused(request, error)
        except WarehouseError as error:
            code = "TIMEOUT" if isinstance(error, TooSlowError) else "UNAVAILABLE"
            return _refused(request, RequestError([GraphQLError(str(error), extensions={"code": code})]))

    def _plan(self, asked: Asked, sees_customers: bool) -> Plan:
        document = self.persisted.document(asked)
        plan = self.operations.plan(document, asked.name, asked.variables, sees_customers=sees_customers)
        self.persisted.keep(asked)
        return plan


async def _read_get(request: Request) -> Asked:
    return read_get(request)


async def _executed(request: Request, plan: Plan, sees_customers: bool) -> Response:
    warehouse: Warehouse = request.app.state.warehouse
    state = request.scope["state"]
    state["audit"] = {"operation": plan.name, "fields": plan.fields}
    if not plan.questions:
        return Response(plan.answer([]), 200, HEADERS, _media_type(request))
    if request.method == "GET" and (known := request.headers.get("if-none-match")):
        tag = etag(await warehouse.version(), plan.digest)
        if is_fresh(known, tag):
            return Response(status_code=304, headers={**HEADERS, "ETag": tag})
    answers = await warehouse.ask(plan.questions, ENCODINGS[sees_customers])
    state["rows"] = sum(answers.rows)
    headers = {**HEADERS, "ETag": etag(answers.version, plan.digest)}
    return Response(plan.answer(answers.json), 200, headers, _media_type(request))


def _refused(request: Request, error: RequestError) -> Response:
    media_type = _media_type(request)
    if isinstance(error, MalformedError):
        status = error.status
    elif media_type == LEGACY_MEDIA_TYPE:
        status = 200
    else:
        code = (error.errors[0].extensions or {}).get("code", "")
        status = STATUSES.get(code, 400)
    body = orjson.dumps({"errors": [each.formatted for each in error.errors]})
    return Response(body, status, {"Cache-Control": "no-store", "Vary": "Accept"}, media_type)


def _media_type(request: Request) -> str:
    accepted = request.headers.get("accept", "")
    is_legacy = LEGACY_MEDIA_TYPE in accepted and MEDIA_TYPE not in accepted
    return LEGACY_MEDIA_TYPE if is_legacy else MEDIA_TYPE


# What OpenAPI says of these routes; the schema of the data is GraphQL's own.

_EXAMPLE = {"query": page.DEFAULT_QUERY, "variables": {"granularity": "MONTHLY"}}
_REQUEST_SCHEMA: dict[str, Any] = {
    "title": "GraphQLRequest",
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "The document; may be left out when its hash is known."},
        "operationName": {"type": ["string", "null"], "description": "Which operation of the document is meant."},
        "variables": {"type": ["object", "null"], "description": "Values of the operation's variables."},
        "extensions": {
            "type": ["object", "null"],
            "description": 'A persisted query: {"persistedQuery": {"version": 1, "sha256Hash": "…"}}.',
        },
    },
    "example": _EXAMPLE,
}
_RESPONSE_SCHEMA: dict[str, Any] = {
    "title": "GraphQLResponse",
    "type": "object",
    "properties": {
        "data": {"type": "object", "description": "What was asked, under its response keys."},
        "errors": {
            "type": "array",
            "description": "What is wrong; there is no data then.",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "message": {"type": "string"},
                    "locations": {"type": "array", "items": {"type": "object"}},
                    "path": {"type": "array", "items": {}},
                    "extensions": {"type": "object", "description": "`code`, and `argument`: which one is wrong."},
                },
            },
        },
    },
}
_CONTENT: dict[str, Any] = {media: {"schema": _RESPONSE_SCHEMA} for media in (MEDIA_TYPE, LEGACY_MEDIA_TYPE)}
_ANSWER = {"data": {"salesAnalytics": [{"period": "2011-11-01", "totalRevenue": "14930.1300", "uniqueCustomers": 31}]}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or to clients of application/json also errors.",
        "content": {media: {**content, "example": _ANSWER} for media, content in _CONTENT.items()},
    },
    400: {"description": "The request or the operation is wrong, or asks too much.", "content": _CONTENT},
    403: {"description": "The role may not ask this.", "content": _CONTENT},
    415: {"description": "The body is not application/json.", "content": _CONTENT},
    503: {"description": "The warehouse does not answer.", "content": _CONTENT},
    504: {"description": "The database took too long.", "content": _CONTENT},
}
_SECURITY: dict[str, Any] = {"security": [{"bearer": []}]}
_POST: dict[str, Any] = {
    "summary": "Ask by GraphQL.",
    "responses": _RESPONSES,
    "response_class": Response,
    "openapi_extra": {
        **_SECURITY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST_SCHEMA}}},
    },
}
_GET: dict[str, Any] = {
    "summary": "Ask by GraphQL, so that answers can be kept by their ETag; or, in a browser, the GraphiQL page.",
    "responses": {**_RESPONSES, 304: {"description": "The answer is the one of the ETag that was sent."}},
    "response_class": Response,
    "openapi_extra": {
        **_SECURITY,
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}
            for name, description in (
                ("query", "The document."),
                ("operationName", "Which operation of the document is meant."),
                ("variables", "A JSON object."),
                ("extensions", "A JSON object; see POST."),
            )
        ],
    },
}

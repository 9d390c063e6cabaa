"""What a client is told when something is wrong: problem details (RFC 9457), the same from every route.

Lives here: the error that carries a problem, how other errors become one, and how OpenAPI shows them. Stays out: when
something is wrong, which every room knows for itself.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from retail_platform.serving.database import TooSlowError, WarehouseError
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.texts import json_of

MEDIA_TYPE = "application/problem+json"

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

UNREADABLE = "There was an error parsing the body"
"""FastAPI's word for a body that is neither JSON nor not JSON: nested too deeply, or with a number too long."""
BODY_EXPECTED = "expected was JSON as in /docs, in UTF-8, with the header Content-Type: application/json."

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "about:blank: the title says all that the kind does."},
        "title": {"type": "string", "description": "The kind of problem, in words that never change."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What was found, what was expected, how to mend it."},
        "instance": {"type": "string", "description": "The request's id, as in X-Request-ID and in the log."},
        "errors": {
            "type": "array",
            "description": "Each argument that is wrong.",
            "items": {
                "type": "object",
                "required": ["argument", "detail"],
                "properties": {"argument": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

EXAMPLES = {
    400: "sort: there is no column `revenu`; it may be one of net_revenue, sale_date.",
    401: "This needs a name. Send a bearer token, an X-API-Key, or a name and password.",
    403: "This needs the role analyst; yours is viewer.",
    404: "There is nothing at this address. The addresses are in /openapi.json.",
    405: "This address does not take this method; see the header Allow.",
    413: "The request's body is larger than 1048576 bytes.",
    422: "One argument is wrong.",
    429: "More than 300 requests in 60 s. Ask again in 12 s.",
    500: "An error on our side. The log has it under the request's id.",
    503: "The warehouse does not answer.",
    504: "The answer took longer than 30 s. Ask for less.",
}


def described(status: int, detail: str) -> dict[str, Any]:
    """A problem for OpenAPI, with an example of what its detail says."""
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {status: described(status, detail) for status, detail in EXAMPLES.items()}
"""For `responses=`; the application gives them to every route."""


class ProblemError(HTTPException):
    """Ends a request with problem details.

    Attributes:
        title: the kind of problem; the status' own phrase unless given.
        members: further members of the object, e.g. `errors=[{"argument": …, "detail": …}]`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.title = title or HTTPStatus(status).phrase
        self.members = members


def problem_response(request_id: str, error: HTTPException) -> Response:
    """The answer that tells of an error.

    Args:
        request_id: of the request that failed; by it the log is searched.
        error: a ProblemError, or another HTTPException, of which status and detail are told.
    """
    problem = error if isinstance(error, ProblemError) else ProblemError(error.status_code, str(error.detail))
    content = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": request_id,
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **(error.headers or {})}
    return Response(json_of(content), problem.status_code, headers, MEDIA_TYPE)


EXPECTED = (HTTPException, RequestValidationError, QuestionError, WarehouseError)
"""What ends a request with a problem; those that nobody expects are the middleware's."""


async def answer(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with one of `EXPECTED`."""
    match error:
        case HTTPException():
            return _answer_http(request, error)
        case RequestValidationError():
            return _answer_invalid(request, error)
        case QuestionError():
            return _answer_question(request, error)
        case WarehouseError():
            return _answer_warehouse(request, error)
    raise error


def install(app: FastAPI) -> None:
    """Have every error of a route answered as a problem; those that nobody expects are the middleware's."""
    for kind in EXPECTED:
        app.add_exception_handler(kind, answer)


def request_id_of(request: Request) -> str:
    """The id that the middleware gave the request."""
    return str(request.scope["state"]["request_id"])


def _answer_http(request: Request, error: HTTPException) -> Response:
    if error.status_code in (404, 405) and not isinstance(error, ProblemError):
        headers = {"Allow": ", ".join(_allowed(request))} if error.status_code == 405 else error.headers
        error = HTTPException(error.status_code, EXAMPLES[error.status_code], headers)
    if error.status_code == 400 and error.detail == UNREADABLE:
        error = _unreadable(error)
    return problem_response(request_id_of(request), error)


def _allowed(request: Request) -> list[str]:
    """The methods of an address, over all its routes; the framework names those of the first."""
    asked = [{**request.scope, "method": method} for method in METHODS]
    return [each["method"] for each in asked if any(r.matches(each)[0] is Match.FULL for r in request.app.routes)]


def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    found = [_no_json(each) if each["type"] == "json_invalid" else _invalid(each) for each in error.errors()]
    detail = "; ".join(f"{each['argument']}: {each['detail']}" for each in found)
    return problem_response(request_id_of(request), ProblemError(422, detail, errors=found))


def _answer_question(request: Request, error: QuestionError) -> Response:
    status = 403 if isinstance(error, NotAllowedError) else 400
    errors = [{"argument": error.argument, "detail": error.detail}]
    return problem_response(request_id_of(request), ProblemError(status, str(error), errors=errors))


def _answer_warehouse(request: Request, error: WarehouseError) -> Response:
    status, headers = (504, {}) if isinstance(error, TooSlowError) else (503, {"Retry-After": "5"})
    return problem_response(request_id_of(request), ProblemError(status, str(error), headers=headers))


def _invalid(error: Mapping[str, Any]) -> dict[str, str]:
    return {"argument": _argument(error["loc"]), "detail": str(error["msg"])}


def _no_json(error: Mapping[str, Any]) -> dict[str, str]:
    where, why = error["loc"][-1], str(error["ctx"]["error"])
    return {"argument": "body", "detail": f"is not JSON at character {where}: {why}; {BODY_EXPECTED}"}


def _unreadable(error: HTTPException) -> ProblemError:
    """What the framework says of a body that it could not read, in our words."""
    is_deep = isinstance(error.__cause__, RecursionError)
    why = "is nested too deeply" if is_deep else f"cannot be read ({error.__cause__})"
    errors = [{"argument": "body", "detail": f"{why}; {BODY_EXPECTED}"}]
    return ProblemError(422, f"body: {errors[0]['detail']}", errors=errors)


def _argument(location: Sequence[int | str]) -> str:
    """Where a request is wrong, without pydantic's `query`, `body` and the like in front."""
    return ".".join(map(str, location[1:] or location))

"""What happens to every request, whatever its route: pure ASGI, as each layer is paid for by each request.

From the outside in: `RequestMiddleware` (id, security headers, time limit, errors that nobody expected, audit), CORS,
compression, `BodyLimitMiddleware`, `AccessMiddleware` (who asks, and whether not too often).
"""

import asyncio
import logging
import re
import time
from functools import lru_cache
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retail_platform.serving.access.credentials import Access
from retail_platform.serving.access.limits import STRANGER
from retail_platform.serving.access.principals import Principal, address_of, refused
from retail_platform.serving.logs import AUDIT, REQUEST_ID, scrubbed
from retail_platform.serving.problems import ProblemError, problem_response
from retail_platform.serving.rest.metrics import Metrics

PROBES = ("/livez", "/readyz")
"""Asked by machines that watch over the service: they are nobody, and are not counted."""

REQUEST_HEADER = b"x-request-id"
VARY = b"vary"
SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""For answers that are data; a page brings its own."""
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

NO_NAME = "This needs a name. Send a bearer token, an X-API-Key, or a name and password."

NAMES_IN_PATHS = {"table": re.compile(r"[a-z_]{1,60}"), "task_id": re.compile(r"[0-9a-f-]{36}")}
"""Parameters of paths that may be written down, if they look like this; else the path is written as its route."""

audit = logging.getLogger(AUDIT)
log = logging.getLogger("retail.api")


class RequestMiddleware:
    """Gives each request an id, a time limit and an end that is written down.

    `scope["state"]` is where the layers below say what they found: `principal`, `rows` (how many were answered) and
    `audit` (further members of the line).
    """

    def __init__(self, app: ASGIApp, seconds: float, columns: frozenset[str]) -> None:
        """Wrap an application.

        Args:
            app: what answers.
            seconds: within which an answer has to begin.
            columns: names of columns that are not personal, whose values may be written down.
        """
        self.app = app
        self._seconds = seconds
        self._columns = columns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer for what goes wrong inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        request = _Request(scope, send)
        metrics: Metrics = scope["app"].state.metrics
        metrics.begun()
        try:
            await self._within_time(request, receive)
        finally:
            seconds = time.perf_counter() - begun
            metrics.ended(scope, request.status, seconds)
            audit.info(request.said(self._columns, seconds))

    async def _within_time(self, request: "_Request", receive: Receive) -> None:
        try:
            async with request.deadline(self._seconds):
                await self.app(request.scope, receive, request.send)
        except Exception as error:
            if request.status:
                raise  # the answer has begun: all that is left is to cut it off
            if isinstance(error, TimeoutError) and request.is_late:
                problem = ProblemError(504, f"No answer within {self._seconds:g} s. Ask for less, or for an export.")
            else:
                log.exception("A request failed.")
                problem = ProblemError(500, "An error on our side. The log has it under the request's id.")
            request.forget_deadline()
            await problem_response(request.id, problem)(request.scope, receive, request.send)


class _Request:
    """One request on its way."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.status = 0
        self.id = _request_id(scope)
        self._send = send
        self._deadline: asyncio.Timeout | None = None
        scope.setdefault("state", {})["request_id"] = self.id
        REQUEST_ID.set(self.id)

    def deadline(self, seconds: float) -> asyncio.Timeout:
        """The time within which the answer has to begin."""
        self._deadline = asyncio.timeout(seconds)
        return self._deadline

    @property
    def is_late(self) -> bool:
        """Whether the deadline has ended the request."""
        return self._deadline is not None and self._deadline.expired()

    def forget_deadline(self) -> None:
        """The time has passed, or no longer matters; a timeout that has ended cannot be put off."""
        self._deadline = None

    async def send(self, message: Message) -> None:
        """Send on, with what every answer has. An answer that has begun may take its time: it may be a stream."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._deadline is not None:
                self._deadline.reschedule(None)
            sent = message.get("headers", ())
            headers = message["headers"] = [(name, _once(value) if name == VARY else value) for name, value in sent]
            headers += SECURITY_HEADERS
            headers.append((REQUEST_HEADER, self.id.encode()))
            if not any(name == CONTENT_POLICY[0] for name, _ in headers):
                headers.append(CONTENT_POLICY)
            if self.scope["scheme"] == "https":
                headers.append(HTTPS_ONLY)
        await self._send(message)

    def said(self, columns: frozenset[str], seconds: float) -> dict[str, Any]:
        """The line of the audit log: never a body, a header, or a value that may be personal."""
        scope, state = self.scope, self.scope["state"]
        principal = state.get("principal")
        known = isinstance(principal, Principal)
        route = getattr(scope.get("route"), "path", None)
        return {
            "request_id": self.id,
            "principal": principal.name if known else None,
            "role": str(principal.role) if known else None,
            "way": principal.way if known else None,
            "method": scope["method"],
            "path": _path(scope, route),
            "route": route,
            "query": scrubbed(scope["query_string"].decode("latin-1"), columns) if scope["query_string"] else "",
            "status": self.status,
            "ms": round(seconds * 1000, 2),
            "rows": state.get("rows"),
            "client": address_of(scope),
            **state.get("audit", {}),
        }


class BodyLimitMiddleware:
    """Refuses a request whose body is larger than a number of bytes, whether it says so first or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-length" and int(value) > self._max_bytes:
                    response = problem_response(scope["state"]["request_id"], self._too_large())
                    await response(scope, receive, send)
                    return
                if name == b"transfer-encoding":
                    receive = self._counted(receive)
        await self.app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        left = self._max_bytes

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ProblemError:
        return ProblemError(413, f"The request's body is larger than {self._max_bytes} bytes.")


class AccessMiddleware:
    """Finds out who asks, and refuses those who ask too often.

    What was found is in `scope["state"]["principal"]`: a Principal, or the problem to be told by routes that need one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except ProblemError as problem:
                await problem_response(scope["state"]["request_id"], problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        state = scope["state"]
        if scope["path"] in PROBES:
            state["principal"] = refused(NO_NAME)
            return
        access: Access = scope["app"].state.access
        address = address_of(scope)
        try:
            principal = await access.identify(scope["headers"], address)
            state["principal"] = principal or refused(NO_NAME)
        except ProblemError as problem:
            if problem.status_code != 401:
                raise
            principal, state["principal"] = None, problem
        if principal is None:
            await access.limits.hit(STRANGER, address)
        else:
            await access.limits.hit(str(principal.role), principal.name)


@lru_cache(maxsize=100)
def _once(value: bytes) -> bytes:
    """A list of names, each once: routes and the layer that compresses both name Accept-Encoding."""
    return b", ".join({name.strip().lower(): name.strip() for name in value.split(b",")}.values())


def _path(scope: Scope, route: str | None) -> str | None:
    """The path, or its route where it may name a customer: None when there is no route, as anything may be in it."""
    named = scope.get("path_params", {}).items()
    is_harmless = all(name in NAMES_IN_PATHS and NAMES_IN_PATHS[name].fullmatch(str(value)) for name, value in named)
    return scope["path"] if route is not None and is_harmless else route


def _request_id(scope: Scope) -> str:
    """The id that a proxy gave the request, when it is one that may be written into a log; else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_HEADER and SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex

"""The routes asked most, answered without looking through all others.

Matching a request against some forty routes, and what FastAPI does around an endpoint, cost as much as the rest of such
a request (measured: 29 of 67 hundredths of the processor time of the shortest). A direct route is one of the
application's as any other, for OpenAPI and for refusing other methods; its requests are found by their path.
"""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from retail_platform.serving import problems


class DirectRoute(APIRoute):
    """A route with a path of its own whose endpoint takes the request alone, and checks the principal itself.

    Its dependencies only document it: none may ask for more than `principal_of` does.
    """


class DirectRoutesMiddleware:
    """Answers direct routes; passes all other requests on."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        """Wrap an application.

        Args:
            app: what answers all others.
            routers: those with direct routes among their routes.
        """
        self.app = app
        routes = [route for router in routers for route in router.routes if isinstance(route, DirectRoute)]
        # The first of a path wins, as it does when routes are matched in their order.
        self._routes = {(method, route.path): route for route in reversed(routes) for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except problems.EXPECTED as error:
            response = await problems.answer(request, error)
        await response(scope, receive, send)

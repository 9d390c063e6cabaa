"""The pages that show the REST API: Swagger UI at /docs and ReDoc at /redoc, from files of this machine.

The files come in the package fastapi-offline; pages load nothing from elsewhere, and their policy forbids it. The page
of GraphQL is in `graphql`.
"""

import base64
import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request, Response

from retail_platform.serving.problems import ProblemError

FILES = Path(fastapi_offline.__file__).parent / "static"
TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
"""An image beside the name of ReDoc, which has no option against it; it would be the one thing from elsewhere."""

ADDRESS = "/docs/files"
FOR_EVER = "public, max-age=31536000, immutable"
"""The address of a file names its content."""

OPTIONS = {
    "url": "/openapi.json",
    "dom_id": "#swagger-ui",
    "deepLinking": True,
    "docExpansion": "list",
    "displayRequestDuration": True,
    "filter": True,
    "persistAuthorization": False,
    "tryItOutEnabled": True,
    "validatorUrl": None,
}
SWAGGER = f"SwaggerUIBundle({json.dumps(OPTIONS)});"
REDOC = 'Redoc.init("/openapi.json", {"disableSearch": false}, document.getElementById("redoc"));'

POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; connect-src 'self'"
"""What no page needs is forbidden. Styles are inline in both: they are written while the page runs."""


def router(app: FastAPI) -> APIRouter:
    """The routes of the pages and their files.

    Args:
        app: whose title the pages bear.
    """
    routes = APIRouter(include_in_schema=False)
    named = {name: f"{ADDRESS}/{_digest(name)}/{name}" for name in TYPES}
    pages = {
        "/docs": _page(
            app.title,
            f'<link rel="stylesheet" href="{named["swagger-ui.css"]}">',
            f'<div id="swagger-ui"></div><script src="{named["swagger-ui-bundle.js"]}"></script>',
            SWAGGER,
            named["favicon.png"],
        ),
        "/redoc": _page(
            app.title,
            "<style>body { margin: 0 }</style>",
            f'<div id="redoc"></div><script src="{named["redoc.standalone.js"]}"></script>',
            REDOC,
            named["favicon.png"],
        ),
    }
    policies = {
        "/docs": _policy(SWAGGER),
        # ReDoc searches in a worker that it makes of a blob.
        "/redoc": f"{_policy(REDOC)}; worker-src blob:",
    }

    async def show(request: Request) -> Response:
        path = request.scope["route"].path
        headers = {"Content-Security-Policy": policies[path], "Cache-Control": "no-cache"}
        return Response(pages[path], headers=headers, media_type="text/html; charset=utf-8")

    @routes.get(f"{ADDRESS}/{{digest}}/{{name}}")
    async def show_file(digest: str, name: str) -> Response:
        if name not in TYPES or named[name] != f"{ADDRESS}/{digest}/{name}":
            raise ProblemError(404, "There is no such file of a page.")
        return Response(_content(name), media_type=TYPES[name], headers={"Cache-Control": FOR_EVER})

    for path in pages:
        routes.add_api_route(path, show)
    return routes


def _page(title: str, head: str, body: str, script: str, icon: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{icon}">{head}</head><body>{body}<script>{script}</script></body></html>'
    )


def _policy(script: str) -> str:
    """The policy of a page, with its own script let through by its hash."""
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return f"{POLICY}; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


@cache
def _content(name: str) -> bytes:
    content = (FILES / name).read_bytes()
    return content.replace(REDOC_LOGO, b"data:image/svg+xml,") if name == "redoc.standalone.js" else content


def _digest(name: str) -> str:
    return sha256(_content(name)).hexdigest()[:16]

"""The GraphiQL page, without anything from another server.

GraphiQL itself comes with Dagster's webserver, as files; a few lines of ours start it. The page is public, data are
not: the browser asks for name and password when GraphiQL asks its first question.
"""

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse, HTMLResponse

from retail_platform.serving.problems import ProblemError

HERE = Path(__file__).parent

GRAPHIQL_FILES = (
    "react.production.min.js",
    "react-dom.production.min.js",
    "graphiql.min.js",
    "graphiql.min.css",
    "graphiql-plugin-explorer.umd.js",
    "graphiql-plugin-explorer-style.css",
)
OWN_FILES = ("start.js", "start.css", "default.graphql")

DEFAULT_QUERY = (HERE / "default.graphql").read_text("utf-8")

PAGE_HEADERS = {
    # GraphiQL's editor and its style sheets in script put styles into the page; scripts are files of ours only.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
ASSET_HEADERS = {"Cache-Control": "public, max-age=604800"}


def graphiql() -> Response:
    """The page."""
    return HTMLResponse(_html(), headers=PAGE_HEADERS)


async def asset(name: str) -> Response:
    """A file of the page.

    Raises:
        ProblemError: 404, the page has no such file.
    """
    files = _files()
    if name not in files:
        raise ProblemError(404, f"There is no file {name!r:.100}; there are {', '.join(files)}.")
    return FileResponse(files[name], headers=ASSET_HEADERS)


@cache
def _html() -> str:
    # Files are kept by browsers for a week, under the versions that they are of.
    versions = f"{version('dagster-webserver')}-{version('retail-platform')}"
    return (HERE / "graphiql.html").read_text("utf-8").replace("VERSION", versions)


@cache
def _files() -> dict[str, Path]:
    package = find_spec("dagster_webserver")
    if package is None or package.origin is None:
        raise FileNotFoundError("Package dagster-webserver, which brings GraphiQL, is not installed: run `make setup`.")
    folder = Path(package.origin).parent / "graphiql"
    return {name: folder / name for name in GRAPHIQL_FILES} | {name: HERE / name for name in OWN_FILES}

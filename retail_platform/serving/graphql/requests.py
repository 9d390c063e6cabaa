"""What an HTTP request asks: GraphQL over HTTP, and Apollo's automatic persisted queries.

A client that sends only the SHA-256 of a document is told when we do not know it, and then sends both once. Documents
are kept per process; a client that meets another one sends it again.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from fastapi import Request
from graphql import GraphQLError

from retail_platform.serving.graphql.errors import BAD_INPUT
from retail_platform.serving.graphql.operations import RequestError

KEPT_DOCUMENTS = 1_000
BAD_REQUEST = "BAD_REQUEST"
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"


@dataclass(frozen=True)
class Asked:
    """The parameters of a request.

    Attributes:
        document: GraphQL text; None when only its hash was sent.
        hash: SHA-256 of the document, in hexadecimal, when the client wants it kept.
    """

    document: str | None
    name: str | None
    variables: Mapping[str, Any]
    hash: str | None


class MalformedError(RequestError):
    """The request is no GraphQL request; `status` says what kind of wrong it is."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__([GraphQLError(message, extensions={"code": BAD_REQUEST})])
        self.status = status


def read_get(request: Request) -> Asked:
    """The parameters of a GET: `query`, `operationName`, and `variables` and `extensions` as JSON.

    Raises:
        MalformedError: a parameter is not what it has to be.
    """
    given: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = _json(given[name], name)
    return _asked(given)


async def read_post(request: Request) -> Asked:
    """The parameters in the JSON body of a POST.

    Raises:
        MalformedError: the body is not JSON, or no GraphQL request.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise MalformedError(f"The body is {media_type or 'of no type'}; send Content-Type: application/json.", 415)
    given = _json(await request.body(), "The body")
    if isinstance(given, list):
        raise MalformedError("Batches are not taken: put all fields into one operation, under aliases.")
    if not isinstance(given, dict):
        raise MalformedError('The body is no object; expected {"query": "…", "variables": {…}}.')
    return _asked(given)


def _asked(given: Mapping[str, Any]) -> Asked:
    document, name = _text(given, "query"), _text(given, "operationName")
    variables, extensions = _object(given, "variables"), _object(given, "extensions")
    persisted = _object(extensions, "persistedQuery")
    if persisted and persisted.get("version") != 1:
        raise MalformedError("extensions.persistedQuery.version has to be 1.")
    digest = _text(persisted, "sha256Hash")
    if document is None and digest is None:
        raise MalformedError("There is no `query`; send the GraphQL document in it.")
    return Asked(document, name, variables, digest)


def _json(text: str | bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"{what} cannot be read as JSON: {error}.") from error


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"`{name}` has to be a text.")
    return value or None


def _object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise MalformedError(f"`{name}` has to be an object.")
    return value or {}


class Persisted:
    """The documents that clients call by their hash; the least recently used goes first."""

    def __init__(self) -> None:
        self._documents: OrderedDict[str, str] = OrderedDict()

    def document(self, asked: Asked) -> str:
        """The document of a request.

        Raises:
            RequestError: it is not known by its hash, or the hash is of another one.
        """
        if asked.document is None:
            assert asked.hash is not None
            if asked.hash not in self._documents:
                raise RequestError([GraphQLError("PersistedQueryNotFound", extensions={"code": NOT_FOUND})])
            self._documents.move_to_end(asked.hash)
            return self._documents[asked.hash]
        if asked.hash is not None and sha256(asked.document.encode()).hexdigest() != asked.hash:
            message = "extensions.persistedQuery.sha256Hash is not the SHA-256 of `query`."
            raise RequestError([GraphQLError(message, extensions={"code": BAD_INPUT})])
        return asked.document

    def keep(self, asked: Asked) -> None:
        """Keep the document of a request, which was found to be right, if its client wants that."""
        if asked.hash is not None and asked.document is not None:
            self._documents[asked.hash] = asked.document
            if len(self._documents) > KEPT_DOCUMENTS:
                self._documents.popitem(last=False)

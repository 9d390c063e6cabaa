"""From what a client sends to a plan that is kept: parsed, checked and planned once, however often it is asked.

Lives here: documents, variables, introspection, and the bytes around the answers. Stays out: what fields mean
(`planning`), how much may be asked (`limits`), and HTTP (`router`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSyntaxError,
    execute_sync,
    get_variable_values,
    parse,
    validate,
)
from graphql.language import OperationDefinitionNode, SelectionSetNode

from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.etags import digest
from retail_platform.serving.graphql import limits as most
from retail_platform.serving.graphql.errors import BAD_INPUT
from retail_platform.serving.graphql.planning import Operation, Planner, Selected
from retail_platform.serving.graphql.schema import build_schema, graphql_schema
from retail_platform.serving.query.shapes import Question

KEPT_DOCUMENTS = 256
KEPT_PLANS = 1024
KEPT_INTROSPECTIONS = 8
"""Their answers, of up to a megabyte, are part of their plans."""
INTROSPECTS = re.compile(r"__(schema|type)\b")


class RequestError(Exception):
    """An operation that is not executed; `errors` say why."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


@dataclass(frozen=True)
class Plan:
    """What an operation asks, and how its answer is put together.

    Attributes:
        name: of the operation, if it has one.
        fields: at its root, without their arguments.
        questions: asked in one statement.
        pieces: of the answer: bytes as they are, or the position of the question whose answer goes there.
        digest: of all that decides the answer but the data.
    """

    name: str | None
    fields: tuple[str, ...]
    questions: tuple[Question, ...]
    pieces: tuple[bytes | int, ...]
    digest: str

    def answer(self, answers: Sequence[bytes]) -> bytes:
        """The response's body.

        Args:
            answers: of the questions, as JSON.
        """
        return b"".join([piece if isinstance(piece, bytes) else answers[piece] for piece in self.pieces])


class Operations:
    """Plans the operations of one schema."""

    def __init__(self, catalogue: Catalogue, limits: most.Limits) -> None:
        """Build the schema, which takes about a second.

        Args:
            catalogue: the tables served.
            limits: of the platform.
        """
        self.catalogue = catalogue
        self.limits = limits
        self.schema = build_schema(catalogue)
        self.core = graphql_schema(self.schema)
        self._kept_document = lru_cache(KEPT_DOCUMENTS)(self._read_document)
        self._kept_plan = lru_cache(KEPT_PLANS)(self._make_plan)
        self._kept_introspection = lru_cache(KEPT_INTROSPECTIONS)(self._make_plan)

    def plan(self, document: str, name: str | None, variables: Mapping[str, Any], *, sees_customers: bool) -> Plan:
        """The plan of an operation.

        Args:
            document: GraphQL text.
            name: of the operation in it; needed when there are several.
            variables: their values, as JSON has them.
            sees_customers: whether the person may see who a customer is.

        Raises:
            RequestError: the document, the variables or an argument is wrong, or it asks too much.
        """
        kept = self._kept_introspection if INTROSPECTS.search(document) else self._kept_plan
        return kept(document, name, orjson.dumps(variables, option=orjson.OPT_SORT_KEYS), sees_customers)

    def _read_document(self, text: str) -> DocumentNode:
        """Parse, limit, validate: in this order, as each step is safe only after the one before it."""
        if len(text) > most.LONGEST_DOCUMENT:
            raise RequestError(
                [
                    most.too_complex(
                        f"The document has {len(text)} characters; at most {most.LONGEST_DOCUMENT} are read. Put lists "
                        "of values into variables."
                    )
                ]
            )
        try:
            document = parse(text, max_lexical_tokens=most.MOST_TOKENS)
            most.check_document(document, self.limits)
        except GraphQLSyntaxError as error:
            raise RequestError([coded(error, "GRAPHQL_PARSE_FAILED")]) from error
        except GraphQLError as error:
            raise RequestError([error]) from error
        if errors := validate(self.core, document, max_errors=20):
            raise RequestError([coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors])
        return document

    def _make_plan(self, text: str, name: str | None, variables: bytes, sees_customers: bool) -> Plan:
        document = self._kept_document(text)
        operation = self._operation(document, name, orjson.loads(variables))
        try:
            fields = operation.selected(operation.node.selection_set)
            _check_roots(len(fields))
            constants = self._constants(operation, fields)
            planner = Planner(operation, self.catalogue, self.limits, sees_customers=sees_customers)
            asked = {key: planner.question(key, nodes) for key, nodes in fields.items() if key not in constants}
        except GraphQLError as error:
            raise RequestError([error]) from error
        return Plan(
            name=operation.node.name.value if operation.node.name else None,
            fields=tuple(dict.fromkeys(nodes[0].name.value for nodes in fields.values())),
            questions=tuple(asked.values()),
            pieces=tuple(_pieces(list(fields), constants, list(asked))),
            digest=digest("graphql", text, name, variables, sees_customers),
        )

    def _operation(self, document: DocumentNode, name: str | None, variables: dict[str, Any]) -> Operation:
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        named = [each for each in operations if name is None or (each.name and each.name.value == name)]
        if len(named) != 1:
            names = ", ".join(each.name.value for each in operations if each.name)
            problem = f"There is no operation {name!r}" if name else "There are several operations"
            error = GraphQLError(f"{problem}; operationName may be one of: {names or 'none, leave it out'}.")
            raise RequestError([coded(error, "OPERATION_RESOLUTION_FAILURE")])
        values = get_variable_values(self.core, named[0].variable_definitions, variables, max_errors=20)
        if isinstance(values, list):
            raise RequestError([coded(error, BAD_INPUT) for error in values])
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        return Operation(self.core, named[0], fragments, values)

    def _constants(self, operation: Operation, fields: Selected) -> dict[str, bytes]:
        """The answers that need no database: the root's type name, and introspection, which graphql-core executes."""
        constants = {key: b'"Query"' for key, nodes in fields.items() if nodes[0].name.value == "__typename"}
        schema = [node for nodes in fields.values() for node in nodes if node.name.value in ("__schema", "__type")]
        if not schema:
            return constants
        most.check_introspection(schema, operation.fragments)
        asked = copy(operation.node)
        asked.selection_set = SelectionSetNode(selections=tuple(schema))
        document = DocumentNode(definitions=(asked, *operation.fragments.values()))
        result = execute_sync(self.core, document, variable_values=dict(operation.variables))
        if result.errors:
            raise result.errors[0]
        return constants | {key: orjson.dumps(value) for key, value in (result.data or {}).items()}


def coded(error: GraphQLError, code: str) -> GraphQLError:
    """The error, with a code when it has none of its own."""
    error.extensions = {"code": code, **(error.extensions or {})}
    return error


def _check_roots(count: int) -> None:
    if count > most.MOST_ROOT_FIELDS:
        raise most.too_complex(
            f"The operation has {count} fields at its root; at most {most.MOST_ROOT_FIELDS} may be asked. Send several "
            "operations."
        )


def _pieces(keys: list[str], constants: Mapping[str, bytes], asked: list[str]) -> Iterator[bytes | int]:
    """The answer: constant bytes, and between them the positions of the questions."""
    text = b'{"data":{'
    for number, key in enumerate(keys):
        text += (b"," if number else b"") + orjson.dumps(key) + b":"
        if key in constants:
            text += constants[key]
        else:
            yield text
            yield asked.index(key)
            text = b""
    yield text + b"}}"

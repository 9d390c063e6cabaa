"""How much one operation may ask, and how to ask for less.

What a document may hold is counted on its syntax tree before anything else looks at it: some rules of validation take
time in the square of its size. What its pages add up to is counted while it is planned.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, FragmentSpreadNode, GraphQLError, OperationType
from graphql.language import InlineFragmentNode, OperationDefinitionNode, SelectionNode, SelectionSetNode

TOO_COMPLEX = "QUERY_TOO_COMPLEX"

LONGEST_DOCUMENT = 50_000
"""Characters."""
MOST_TOKENS = 5_000
MOST_FIELDS = 1_000
"""Fields, fragments written out."""
MOST_ROOT_FIELDS = 20
MOST_ALIASES = 100
MOST_DIRECTIVES = 50
DEFAULT_ROWS = 100
"""Rows of a page, or groups, when the operation does not say how many."""
MOST_ROWS = 10_000
"""Rows of a named query, which has no pages."""


@dataclass(frozen=True)
class Limits:
    """What an operator may change.

    Attributes:
        depth: fields inside each other.
        values: in the answer: rows of a page times what is selected of each, pages inside of pages multiplied.
        rows: of a page; groups of an aggregate.
    """

    depth: int
    values: int
    rows: int


def too_complex(message: str, node: FieldNode | None = None) -> GraphQLError:
    """The error of an operation that asks too much."""
    return GraphQLError(message, node, extensions={"code": TOO_COMPLEX})


@dataclass(frozen=True)
class Size:
    """How much a selection set holds, with its fragments written out."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Refuse a document that holds too much.

    Args:
        document: parsed, not validated.
        limits: of the platform.

    Raises:
        GraphQLError: what was found, what may be, and how to ask instead.
    """
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    sizes = _Sizes(fragments)
    for each in document.definitions:
        if isinstance(each, OperationDefinitionNode):
            _check_operation(each)
            _check_size(_size(sizes, each.selection_set), limits)


def _check_operation(operation: OperationDefinitionNode) -> None:
    if operation.operation is not OperationType.QUERY:
        raise GraphQLError(
            f"There is no {operation.operation.value} here: the data are read only. Write a query.",
            operation,
            extensions={"code": "OPERATION_NOT_SUPPORTED"},
        )


def _size(sizes: "_Sizes", selections: SelectionSetNode) -> Size:
    try:
        return sizes.of(selections)
    except RecursionError:
        # A long chain of fragments; the parser has refused what is as deep without them.
        raise too_complex("The operation's fragments are nested too deeply to be counted.") from None


def _check_size(size: Size, limits: Limits) -> None:
    found = (
        (size.depth, limits.depth, "is {} levels deep", "Start at the table itself rather than far from it."),
        (size.fields, MOST_FIELDS, "has {} fields, fragments written out", "Send several operations."),
        (size.aliases, MOST_ALIASES, "has {} aliases", "Use `where: {…: {in: […]}}`, or the fields of `group`."),
        (size.directives, MOST_DIRECTIVES, "has {} directives", "Write what is meant into a document of its own."),
    )
    for count, limit, what, instead in found:
        if count > limit:
            raise too_complex(f"The operation {what.format(count)}; at most {limit} may be asked. {instead}")


class _Sizes:
    """Sizes of selection sets; each fragment is counted once, so that fragments of fragments take no longer."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self.fragments = fragments
        self.known: dict[str, Size] = {}

    def of(self, selections: SelectionSetNode) -> Size:
        parts = [self._selection(each) for each in selections.selections]
        return Size(
            max((part.depth for part in parts), default=0),
            sum(part.fields for part in parts),
            sum(part.aliases for part in parts),
            sum(part.directives for part in parts),
        )

    def _selection(self, node: SelectionNode) -> Size:
        if isinstance(node, FragmentSpreadNode):
            inner, is_field, is_alias = self._fragment(node.name.value), False, False
        elif isinstance(node, FieldNode):
            # The schema of the schema has limits of its own.
            is_introspection = node.name.value.startswith("__")
            inner = self.of(node.selection_set) if node.selection_set and not is_introspection else Size()
            is_field, is_alias = True, node.alias is not None
        else:
            assert isinstance(node, InlineFragmentNode)
            inner, is_field, is_alias = self.of(node.selection_set), False, False
        return Size(
            inner.depth + is_field,
            inner.fields + is_field,
            inner.aliases + is_alias,
            inner.directives + len(node.directives),
        )

    def _fragment(self, name: str) -> Size:
        if name not in self.known:
            # For the time it is being counted: a fragment inside itself, or unknown, is what validation refuses.
            self.known[name] = Size()
            if name in self.fragments:
                self.known[name] = self.of(self.fragments[name].selection_set)
        return self.known[name]


LISTS = {"types": 400, "fields": 25, "inputFields": 25, "enumValues": 50, "args": 6, "directives": 5}
"""About how long the lists are in the schema of the schema."""
MOST_INTROSPECTION = 3_000_000
"""The usual introspection counts 1.5 million by `LISTS`; less than a tenth of that are there."""


def check_introspection(nodes: Iterable[FieldNode], fragments: Mapping[str, FragmentDefinitionNode]) -> None:
    """Refuse a walk over the schema's types, and their fields, and the types of these, and so on.

    Raises:
        GraphQLError: it would be much longer than the introspection that tools ask for.
    """
    if sum(_introspected(node, fragments) for node in nodes) > MOST_INTROSPECTION:
        raise too_complex("The introspection asks for lists inside lists. Ask for one type by `__type(name: …)`.")


def _introspected(node: SelectionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> int:
    if isinstance(node, FragmentSpreadNode):
        return sum(_introspected(each, fragments) for each in fragments[node.name.value].selection_set.selections)
    assert isinstance(node, FieldNode | InlineFragmentNode)
    inner = node.selection_set.selections if node.selection_set else ()
    size = LISTS.get(node.name.value, 1) if isinstance(node, FieldNode) else 1
    return size * (1 + sum(_introspected(each, fragments) for each in inner))

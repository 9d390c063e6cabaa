"""What is wrong with an operation, as GraphQL says it: message, place and a code that programs read."""

from collections.abc import Iterator
from contextlib import contextmanager

from graphql import FieldNode, GraphQLError

from retail_platform.serving.query.errors import NotAllowedError, QuestionError

BAD_INPUT = "BAD_USER_INPUT"
FORBIDDEN = "FORBIDDEN"


@contextmanager
def located(node: FieldNode, path: list[str]) -> Iterator[None]:
    """Say of a question's error at which field it is.

    Args:
        node: the field.
        path: its response keys from the root.

    Raises:
        GraphQLError: in place of a QuestionError.
    """
    try:
        yield
    except QuestionError as error:
        code = FORBIDDEN if isinstance(error, NotAllowedError) else BAD_INPUT
        extensions = {"code": code, "argument": error.argument}
        raise GraphQLError(str(error), node, path=path, extensions=extensions) from error

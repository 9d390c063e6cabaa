"""One read-only question to the warehouse, as `retail sql` asks it."""

from dataclasses import dataclass
from typing import Any

import psycopg

from retail_platform.warehouse.connection import Database


class QueryError(Exception):
    """PostgreSQL refused the statement; the message is PostgreSQL's own."""


@dataclass(frozen=True)
class Answer:
    """Column names and rows, in the statement's order."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query_warehouse(database: Database, statement: str) -> Answer:
    """Run one statement in a read-only transaction.

    Raises:
        QueryError: the statement is wrong, gives no rows, or would write.
    """
    with database.connect() as connection:
        connection.read_only = True
        try:
            cursor = connection.execute(statement.encode())
        except psycopg.Error as error:
            raise QueryError(str(error).strip()) from error
        if cursor.description is None:
            raise QueryError("the statement gives no rows; ask with select, or use retail psql to change things.")
        return Answer([column.name for column in cursor.description], cursor.fetchall())

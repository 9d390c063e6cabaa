"""A prepared warehouse of one test."""

from collections.abc import Iterator

import psycopg
import pytest

from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import prepare_warehouse


@pytest.fixture
def warehouse(fresh_database: Database) -> Iterator[psycopg.Connection]:
    """A connection of a writer to an empty, prepared warehouse."""
    with fresh_database.connect(autocommit=True) as connection:
        prepare_warehouse(connection)
        yield connection

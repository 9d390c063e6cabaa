"""One loaded warehouse for all tests of questions; they only read it."""

from collections.abc import Iterator

import pytest

from retail_platform.warehouse.connection import Database
from retail_platform_tests.serving.asked import Asked, loaded


@pytest.fixture(scope="session")
def asked(database: Database) -> Iterator[Asked]:
    with loaded(database) as asked:
        yield asked

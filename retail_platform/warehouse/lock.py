"""The lock that the one run which writes the lake holds, in PostgreSQL: a killed run lets go of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retail_platform.warehouse.connection import Database

LAKE_LOCK = 6_170_001
"""Number of the advisory lock; arbitrary."""


@contextmanager
def lake_lock(database: Database, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lake for the block.

    Args:
        database: the warehouse.
        on_wait: called when another run has the lake, before waiting for its end.
    """
    with database.connect(autocommit=True) as connection:
        locked = connection.execute("select pg_try_advisory_lock(%s)", [LAKE_LOCK]).fetchone()
        if locked == (False,):
            on_wait()
            connection.execute("select pg_advisory_lock(%s)", [LAKE_LOCK])
        yield

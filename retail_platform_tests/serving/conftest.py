"""Platforms that are served: a small one worked out by hand, and the real data."""

from collections.abc import Iterator

import pytest

from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import write_csv
from retail_platform_tests.platforms import new_platform, retail
from retail_platform_tests.serving.served import Served, served

LINES = [
    # invoice, code, description, quantity, time, price, customer, country
    ("500001", "10001", "RED MUG", 4, "2010-12-30 09:15:00", "2.50", "12001", "United Kingdom"),
    ("500001", "POST", "POSTAGE", 1, "2010-12-30 09:15:00", "3.00", "12001", "United Kingdom"),
    ("500002", "10002", 'LAMP "A"', 1, "2010-12-30 11:00:00", "7.1234", None, "EIRE"),
    ("C500003", "10001", "RED MUG", -4, "2011-01-04 10:00:00", "2.50", "12001", "United Kingdom"),
    ("500004", "10002", 'LAMP "A"', 10, "2011-01-05 12:30:00", "1.00", "12002", "USA"),
    ("500004", "10001", "RED MUG", 2, "2011-01-05 12:30:00", "2.00", "12002", "USA"),
    ("500005", "10001", "RED MUG", 1, "2011-01-05 13:00:00", "2.25", "12001", "United Kingdom"),
    ("500005", "10001", "RED MUG", 1, "2011-01-05 13:00:00", "2.25", "12001", "United Kingdom"),  # repeated
    ("500006", "10003", "FREE GIFT", 3, "2011-01-05 14:00:00", "0.00", "12002", "USA"),  # without a price
    ("500007", "10002", 'LAMP "A"', 3, "2011-03-31 16:45:00", "1.50", "12002", "France"),
]
"""Ten rows of which eight are sale lines."""


@pytest.fixture(scope="session")
def shop_platform(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A platform with `LINES`, landed and run by the command."""
    folder = tmp_path_factory.mktemp("shop")
    file = write_csv(folder / "files" / "shop__20110401T010000Z.csv", LINES)
    (folder / "home").mkdir()
    with new_platform(database, folder / "home", "shop") as settings:
        result = retail(settings, "ingest", str(file))
        assert result.returncode == 0, result.stdout + result.stderr
        yield settings


@pytest.fixture(scope="session")
def shop(shop_platform: Settings) -> Iterator[Served]:
    """The small platform, served; tests leave its content as it is."""
    with served(shop_platform) as api:
        yield api


@pytest.fixture(scope="session")
def real(real_platform: Settings) -> Iterator[Served]:
    """The real data, served."""
    with served(real_platform) as api:
        yield api

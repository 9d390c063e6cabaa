"""A platform of its own for each test of this room; PostgreSQL is not asked."""

from pathlib import Path

import pytest

from retail_platform.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", mappings=None)

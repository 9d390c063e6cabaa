"""The real data as a file a day, in random order; a file of its own, since it takes as long as the rest of them."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retail_platform.lakehouse.days import waiting_stretches
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.sources.online_retail import split
from retail_platform_tests.integration.conftest import differences, gold_of, run_lake

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]


def test_a_file_a_day_in_random_order_gives_the_same_gold(
    make_platform: Callable[[str], Settings], raw_file: Path, real_platform: Settings, tmp_path: Path
) -> None:
    settings, shuffled = make_platform("daily"), random.Random(20111209)
    files = split(raw_file, tmp_path, by="day")
    shuffled.shuffle(files)
    settled: dict[Any, str] = {}
    for third in range(3):
        for file in files[third::3]:
            file.rename(settings.landing / file.name)
        register_arrivals(settings)
        wanted = Ledger(settings).fingerprints()
        stretches = waiting_stretches(wanted, settled, settings.first_day)
        # A run over the span of all that waits, as the command does.
        assert run_lake(settings, type(stretches[0])(stretches[0].start, stretches[-1].end)).success
        settled = wanted
    # These name the file of a line, or say when its day came: with other files they are others.
    of_files = {"line_outliers", "quality_profiles", "quality_scores"}
    assert set(differences(gold_of(settings), gold_of(real_platform))) <= of_files

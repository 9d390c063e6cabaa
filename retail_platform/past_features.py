"""Features as of any day that the lake holds: what `retail features` writes, to learn from and to score with."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Literal

import polars as pl

from retail_platform.contracts import CUSTOMER_FEATURE, PRODUCT_CATEGORY, PRODUCT_FEATURE, SILVER_SALES, Table
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.parts import in_parts
from retail_platform.settings import Settings
from retail_platform.transforms.features import MAKERS

TABLES: dict[str, Table] = {"customers": CUSTOMER_FEATURE, "products": PRODUCT_FEATURE}


class NoFeaturesError(Exception):
    """The lake cannot say what the features of a day were; the message says which days it can."""


def past_features(settings: Settings, of: Literal["customers", "products"], days: Sequence[date]) -> pl.DataFrame:
    """Make the features of customers or products as of each of some days.

    Args:
        settings: of the platform.
        of: whose.
        days: as of whose ends.

    Returns:
        Rows of contract `CustomerFeature` or `ProductFeature`, those of each day together, in the order of days.

    Raises:
        NoFeaturesError: a day is before the first sale or after the newest one.
    """
    lake = Lake(settings.lake)
    lines, categories = lake.scan(SILVER_SALES), lake.scan(PRODUCT_CATEGORY).collect()
    first, newest = lines.select(first=pl.col("sale_date").min(), last=pl.col("sale_date").max()).collect().row(0)
    if first is None:
        raise NoFeaturesError("the lake holds no sale yet; land a file first (retail ingest FILE).")
    for day in days:
        if not first <= day <= newest:
            raise NoFeaturesError(f"no features as of {day}: the lake holds sales of {first} to {newest}.")

    def cut(rows: pl.LazyFrame, by: str) -> AbstractContextManager[list[pl.LazyFrame]]:
        return in_parts(rows, by, settings.home / "parts", lake.row_count(SILVER_SALES))

    return pl.concat(MAKERS[TABLES[of]](lines, categories, day, cut) for day in sorted(set(days)))

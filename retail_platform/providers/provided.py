"""What a provider gives, and how it degrades."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import polars as pl


class ProviderError(Exception):
    """A provider did not give what was asked."""

    def __init__(self, asked: object, came: str, advice: str) -> None:
        super().__init__(f"{asked} was asked: {came}. {advice}")


@dataclass(frozen=True)
class Provided:
    """A provider's data, and where it is from: what an asset shows as its metadata.

    Attributes:
        frame: the data, of the same columns whatever the source.
        source: `live`, `packaged`, `held` for what the table had already, or `none` for an empty frame.
        as_of: the day that the newest figure is of; None without data.
        problem: why the data is not live, or is live in part; None where nothing went wrong.
    """

    frame: pl.DataFrame
    source: Literal["live", "packaged", "held", "none"]
    as_of: date | None
    problem: str | None = None


def live_or(live: Callable[[], Provided], otherwise: Provided) -> Provided:
    """What `live` gives, or the other with the reason why not."""
    try:
        return live()
    except ProviderError as error:
        return replace(otherwise, problem=str(error))

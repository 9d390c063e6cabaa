"""Rates of the days that need them, what a change of them moves, and checks that fail when they should."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from retail_platform.contracts import BANK_HOLIDAYS, DAILY_WEATHER, EXCHANGE_RATES, FACT_SALE
from retail_platform.transforms.enrichment import (
    amounts_follow_the_rates,
    countries_have_holidays,
    moved_days,
    rates_of_days,
    sale_days_have_rates,
    temperatures_are_ordered,
    with_held_fixings,
)
from retail_platform.transforms.quality import contract_holds, keys_are_unique

THURSDAY, FRIDAY, MONDAY = date(2011, 1, 6), date(2011, 1, 7), date(2011, 1, 10)
FIXINGS = pl.Schema({"fixed_on": pl.Date(), "currency_code": pl.String(), "per_eur": pl.Decimal(18, 6)})

RATES = {"EUR": "1", "GBP": "0.8", "USD": "1.2", "JPY": "108"}


def fixings(*days: date, **changed: str) -> pl.DataFrame:
    rows = [(day, code, Decimal(rate)) for day in days for code, rate in {**RATES, **changed}.items()]
    return pl.DataFrame(rows, schema=FIXINGS, orient="row")


def rates(*days: date, **changed: str) -> pl.DataFrame:
    return rates_of_days(fixings(*days, **changed), pl.Series(days), "GBP")


def facts(*rows: tuple[date, str, str | None, str | None]) -> pl.DataFrame:
    names = ("sale_date", "total_amount", "total_amount_eur", "total_amount_usd")
    values = [(day, *(None if x is None else Decimal(x) for x in amounts)) for day, *amounts in rows]
    return pl.DataFrame(values, schema={name: FACT_SALE.schema[name] for name in names}, orient="row")


def test_rates_are_of_the_days_and_currencies_that_amounts_need() -> None:
    frame = rates_of_days(fixings(FRIDAY, MONDAY), pl.Series([MONDAY, FRIDAY]), "GBP")
    assert contract_holds(EXCHANGE_RATES, frame).passed
    assert keys_are_unique(EXCHANGE_RATES, frame).passed
    assert frame.filter(currency_code="USD").rows() == [
        (date(2011, 1, day), "USD", Decimal("1.2"), Decimal("1.5"), fixed_on, age)
        for day, fixed_on, age in ((7, FRIDAY, 0), (8, FRIDAY, 1), (9, FRIDAY, 2), (10, MONDAY, 0))
    ]
    assert set(frame["currency_code"]) == {"EUR", "GBP", "USD"}


def test_without_a_sale_there_are_no_rates() -> None:
    assert rates_of_days(fixings(FRIDAY), pl.Series([], dtype=pl.Date), "GBP").equals(EXCHANGE_RATES.empty())


def test_what_is_known_of_later_days_is_not_lost() -> None:
    packaged, held = fixings(FRIDAY), rates(FRIDAY, MONDAY, USD="1.3")
    known = with_held_fixings(packaged, held).filter(currency_code="USD").sort("fixed_on")
    assert known.select("fixed_on", "per_eur").rows() == [(FRIDAY, Decimal("1.2")), (MONDAY, Decimal("1.3"))]
    assert with_held_fixings(packaged, EXCHANGE_RATES.empty()).equals(packaged)


def test_days_move_when_a_rate_does() -> None:
    before = rates(THURSDAY, FRIDAY)
    assert moved_days(before, before) == set()
    assert moved_days(EXCHANGE_RATES.empty(), before) == {THURSDAY, FRIDAY}
    assert moved_days(before, rates(THURSDAY)) == {FRIDAY}
    assert moved_days(before, pl.concat([rates(THURSDAY), rates(FRIDAY, USD="1.3")])) == {FRIDAY}


def test_another_currency_of_the_shop_moves_every_day() -> None:
    of_dollars = rates_of_days(fixings(THURSDAY, FRIDAY), pl.Series([THURSDAY, FRIDAY]), "USD")
    assert moved_days(rates(THURSDAY, FRIDAY), of_dollars) == {THURSDAY, FRIDAY}


@pytest.mark.parametrize(
    ("last_fixing", "passed"), [(FRIDAY, True), (date(2011, 1, 4), False), (date(2010, 12, 1), False)]
)
def test_a_sale_needs_a_rate_that_is_not_too_old(last_fixing: date, passed: bool) -> None:
    held = rates_of_days(fixings(last_fixing), pl.Series([MONDAY]), "GBP")
    finding = sale_days_have_rates(pl.Series([MONDAY]), held, "GBP")
    assert finding.passed is passed
    assert finding.evidence["days"]["sale_date"].to_list() == ([] if passed else [MONDAY])


def test_a_sale_needs_a_rate_of_every_currency() -> None:
    assert not sale_days_have_rates(
        pl.Series([FRIDAY]), rates(FRIDAY).filter(pl.col("currency_code") != "USD"), "GBP"
    ).passed


@pytest.mark.parametrize(
    ("row", "passed"),
    [
        ((FRIDAY, "2", "2.5", "3"), True),
        ((FRIDAY, "0.0001", "0.0001", "0.0002"), True),  # 0.000125 and 0.00015
        ((FRIDAY, "-2", "-2.5", "-3"), True),
        ((FRIDAY, "2", "2.5002", "3"), False),
        ((FRIDAY, "2", "2.5", "2.4"), False),
        ((FRIDAY, "2", None, "3"), False),
        ((FRIDAY, "99999999999999", None, None), True),  # does not fit
        ((MONDAY, "2", None, None), True),  # no rate
        ((MONDAY, "2", "2.5", None), False),
    ],
)
def test_amounts_are_totals_by_the_rate_of_the_day(row: Any, passed: bool) -> None:
    finding = amounts_follow_the_rates(facts(row, (THURSDAY, "1", "1.25", "1.5")), rates(THURSDAY, FRIDAY), "GBP")
    assert finding.passed is passed
    assert len(finding.evidence["days"]) == (0 if passed else 1)


def test_countries_without_holidays_are_listed() -> None:
    schema: dict[str, Any] = {"country_code": pl.String, "country_name": pl.String}
    sold_to = pl.DataFrame([("FR", "France"), ("RW", "Rwanda"), (None, "West Indies")], schema=schema, orient="row")
    holidays = pl.DataFrame([("FR", date(2011, 7, 14), "x")], schema=BANK_HOLIDAYS.schema, orient="row")
    nothing = pl.DataFrame(schema={"country_code": pl.String, "year": pl.Int32})
    unknown = pl.DataFrame([("RW", 2011)], schema=nothing.schema, orient="row")
    finding = countries_have_holidays(sold_to, [2011], holidays, unknown)
    assert finding.passed
    assert finding.evidence["unknown"]["country_name"].to_list() == ["Rwanda"]
    assert finding.evidence["no_country"] == "West Indies"
    assert not countries_have_holidays(sold_to, [2011], holidays, nothing).passed
    assert not countries_have_holidays(sold_to, [2011, 2012], holidays, unknown).passed


@pytest.mark.parametrize(("mean", "passed"), [(5.0, True), (None, True), (9.5, False)])
def test_the_mean_lies_between_the_extremes(mean: float | None, passed: bool) -> None:
    weather = pl.DataFrame([("GB", FRIDAY, mean, 1.0, 9.0, 0.0)], schema=DAILY_WEATHER.schema, orient="row")
    assert temperatures_are_ordered(weather).passed is passed

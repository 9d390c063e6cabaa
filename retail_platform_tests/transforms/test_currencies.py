"""Rates of every day, and amounts in other currencies, on engines that have whole numbers of 128 bits."""

from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_platform.transforms.currencies import add_amounts, daily_rates

FRIDAY, MONDAY = date(2010, 9, 10), date(2010, 9, 13)
FIXINGS = pl.Schema({"fixed_on": pl.Date(), "currency_code": pl.String(), "per_eur": pl.Decimal(18, 6)})
SALES = pl.Schema({"sale_date": pl.Date(), "total_amount": pl.Decimal(18, 4)})

Engine = Callable[[pl.DataFrame], nw.LazyFrame[Any]]


def on_polars(frame: pl.DataFrame) -> nw.LazyFrame[Any]:
    return nw.from_native(frame.lazy())


def on_duckdb(frame: pl.DataFrame) -> nw.LazyFrame[Any]:
    return nw.from_native(duckdb.from_arrow(frame.to_arrow()))


def fixings(*rows: tuple[date, str, str]) -> pl.DataFrame:
    return pl.DataFrame([(day, code, Decimal(rate)) for day, code, rate in rows], schema=FIXINGS, orient="row")


WEEKEND = fixings(
    (FRIDAY, "EUR", "1"),
    (FRIDAY, "USD", "1.2725"),
    (FRIDAY, "GBP", "0.8234"),
    (MONDAY, "EUR", "1"),
    (MONDAY, "USD", "1.28"),
    (MONDAY, "GBP", "0.83"),
)


def test_a_weekend_has_the_rates_of_its_friday() -> None:
    rates = daily_rates(WEEKEND, date(2010, 9, 9), MONDAY).filter(currency_code="USD")
    assert rates.select("rate_date", "per_eur", "fixed_on", "age_days").rows() == [
        (FRIDAY, Decimal("1.2725"), FRIDAY, 0),
        (date(2010, 9, 11), Decimal("1.2725"), FRIDAY, 1),
        (date(2010, 9, 12), Decimal("1.2725"), FRIDAY, 2),
        (MONDAY, Decimal("1.28"), MONDAY, 0),
    ]


def test_a_rate_ends_a_week_after_its_last_fixing() -> None:
    rates = daily_rates(WEEKEND, MONDAY, date(2010, 12, 31))
    assert rates["rate_date"].max() == date(2010, 9, 20)
    assert rates["age_days"].max() == 7


def test_cross_rates_are_exact_to_ten_places() -> None:
    rates = daily_rates(WEEKEND, FRIDAY, FRIDAY)
    assert dict(rates.select("currency_code", "per_shop").iter_rows()) == {
        "EUR": Decimal("1.2144765606"),  # 1 / 0.8234 = 1.21447656060…
        "GBP": Decimal("1.0000000000"),
        "USD": Decimal("1.5454214234"),  # 1.2725 / 0.8234 = 1.54542142337…
    }


def test_another_shop_currency() -> None:
    rates = daily_rates(WEEKEND, FRIDAY, FRIDAY, "USD")
    assert rates.filter(currency_code="USD")["per_shop"].item() == Decimal(1)
    assert daily_rates(WEEKEND, FRIDAY, FRIDAY, "CHF")["per_shop"].to_list() == [None] * 3


def converted(engine: Engine, rows: list[tuple[date, Decimal | None]], rates: pl.DataFrame = WEEKEND) -> pl.DataFrame:
    sales = pl.DataFrame(rows, schema=SALES, orient="row").with_row_index("n")
    daily = daily_rates(rates, date(2010, 9, 1), date(2010, 9, 30))
    added = add_amounts(engine(sales), engine(daily)).collect("polars").to_native()
    assert isinstance(added, pl.DataFrame)
    return added.sort("n").drop("n")


@pytest.mark.parametrize("engine", [on_polars, on_duckdb])
@pytest.mark.parametrize(
    ("day", "amount", "in_eur", "in_usd"),
    [
        (FRIDAY, "100", "121.4477", "154.5421"),
        (date(2010, 9, 12), "100", "121.4477", "154.5421"),
        (MONDAY, "100", "120.4819", "154.2169"),
        (FRIDAY, "-100", "-121.4477", "-154.5421"),
        (FRIDAY, "0", "0", "0"),
        (FRIDAY, None, None, None),
        (date(2010, 9, 9), "100", None, None),  # before the first fixing
        (date(2010, 9, 21), "100", None, None),  # after the last one ended
        (FRIDAY, "7000000000000.0001", "8501335924216.6627", "10817949963565.7033"),
        (FRIDAY, "99999999999999.9999", None, None),  # does not fit
    ],
)
def test_amounts(engine: Engine, day: date, amount: str | None, in_eur: str | None, in_usd: str | None) -> None:
    expected = [Decimal(value) if value else None for value in (amount, in_eur, in_usd)]
    frame = converted(engine, [(day, expected[0])])
    assert frame.columns == ["sale_date", "total_amount", "total_amount_eur", "total_amount_usd"]
    assert frame.row(0) == (day, *expected)
    assert frame.schema["total_amount_usd"] == pl.Decimal(18, 4)


@pytest.mark.parametrize("engine", [on_polars, on_duckdb])
def test_halves_are_rounded_away_from_zero(engine: Engine) -> None:
    one_to_two = fixings((FRIDAY, "EUR", "1"), (FRIDAY, "USD", "3"), (FRIDAY, "GBP", "2"))
    amounts = [Decimal(text) for text in ("0.0001", "0.0003", "-0.0001", "-0.0003")]
    frame = converted(engine, [(FRIDAY, amount) for amount in amounts], one_to_two)
    assert frame["total_amount_eur"].to_list() == [Decimal(x) for x in ("0.0001", "0.0002", "-0.0001", "-0.0002")]
    assert frame["total_amount_usd"].to_list() == [Decimal(x) for x in ("0.0002", "0.0005", "-0.0002", "-0.0005")]


@pytest.mark.parametrize("engine", [on_polars, on_duckdb])
def test_the_shops_own_currency_stays_as_it_is(engine: Engine) -> None:
    sales = pl.DataFrame([(FRIDAY, Decimal("12.3456"))], schema=SALES, orient="row")
    daily = engine(daily_rates(WEEKEND, FRIDAY, FRIDAY))
    frame = add_amounts(engine(sales), daily, currencies=("GBP",)).collect("polars").to_native()
    assert frame.rows() == [(FRIDAY, Decimal("12.3456"), Decimal("12.3456"))]


rate = st.decimals("0.000001", "100000", places=6)


@given(st.lists(st.decimals("-10000000", "10000000", places=4), min_size=1), rate, rate)
def test_amounts_are_as_exact_division_has_them(amounts: list[Decimal], usd: Decimal, gbp: Decimal) -> None:
    rates = fixings((FRIDAY, "EUR", "1"), (FRIDAY, "USD", str(usd)), (FRIDAY, "GBP", str(gbp)))
    frame = converted(on_polars, [(FRIDAY, amount) for amount in amounts], rates)
    with localcontext(prec=80):
        exact = [(amount * usd / gbp).quantize(Decimal("0.0001"), ROUND_HALF_UP) for amount in amounts]
    assert frame["total_amount_usd"].to_list() == [value if abs(value) < 10**14 else None for value in exact]

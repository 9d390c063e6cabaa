"""Exchange rates for every day, and amounts of the shop's currency in others.

An amount goes through the euro by the rates as published, in whole numbers, and is rounded once: half away from zero to
4 places. A rounded cross rate is never multiplied with (as article 4 of regulation (EC) 1103/97 has it for national
currency units). That takes whole numbers of 128 bits, which Polars and DuckDB have and pandas has not. Where the rates
come from stays out (`providers/`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import polars as pl

MAX_AGE = timedelta(days=7)
"""How long a fixing holds. The longest pause of the ECB since 1999 is 5 days (Easter, some Christmases); a currency
that it no longer fixes ends a week later."""

RATE_PLACES = 6
"""Decimal places of published rates; the ECB's have 6 at most."""
CROSS_PLACES = 10
DAILY_RATES = ("rate_date", "currency_code", "per_eur", "per_shop", "fixed_on", "age_days")
AMOUNT_PLACES = 4
AMOUNT_UNITS = 10**18
"""Amounts are numeric(18,4): below this many ten-thousandths."""


def daily_rates(fixings: pl.DataFrame, first: date, last: date, shop_currency: str = "GBP") -> pl.DataFrame:
    """Fill rates forward over weekends and holidays: a day takes the last fixing on or before it.

    Args:
        fixings: (fixed_on, currency_code, per_eur), one row per fixing; units of the currency for one euro.
        first: the first day wanted.
        last: the last day wanted.
        shop_currency: the currency for `per_shop`.

    Returns:
        (rate_date, currency_code, per_eur, per_shop, fixed_on, age_days) by day and currency. per_shop is units for
        one of the shop's currency, 10 places, to read and not to convert with; null where the shop's currency has no
        rate. No row where the last fixing is older than `MAX_AGE`, or there is none.
    """
    days = pl.DataFrame({"rate_date": pl.date_range(first, last, eager=True)})
    wanted = days.join(fixings.select("currency_code").unique(), how="cross").sort("rate_date")
    filled = wanted.join_asof(
        fixings.sort("fixed_on"),
        left_on="rate_date",
        right_on="fixed_on",
        by="currency_code",
        tolerance=MAX_AGE,
        coalesce=False,
        check_sortedness=False,
    ).drop_nulls("fixed_on")
    shop = filled.filter(pl.col("currency_code") == shop_currency).select("rate_date", shop_rate="per_eur")
    crossed = _with_ratio(
        nw.from_native(filled.join(shop, on="rate_date", how="left").lazy()),
        "per_shop",
        _units(nw.col("per_eur"), RATE_PLACES) * 10**CROSS_PLACES,
        _units(nw.col("shop_rate"), RATE_PLACES),
        CROSS_PLACES,
    )
    age = (pl.col("rate_date") - pl.col("fixed_on")).dt.total_days().cast(pl.Int16)
    rates: pl.DataFrame = crossed.to_native().with_columns(age_days=age).collect()
    return rates.select(DAILY_RATES).sort("rate_date", "currency_code")


def add_amounts(
    rows: nw.LazyFrame[Any],
    rates: nw.LazyFrame[Any],
    *,
    shop_currency: str = "GBP",
    currencies: Sequence[str] = ("EUR", "USD"),
    amount: str = "total_amount",
    day: str = "sale_date",
) -> nw.LazyFrame[Any]:
    """Add an amount in other currencies, by the rate of its day.

    amount x (units of the other for one euro) / (units of the shop's for one euro), exact until it is rounded half away
    from zero to 4 places.

    Args:
        rows: rows with the amount (decimal, 4 places) in the shop's currency, and their day.
        rates: rate_date, currency_code and per_eur of `daily_rates`, on the same engine.
        shop_currency: the currency of the amount.
        currencies: the currencies wanted.
        amount: the column of the amount.
        day: the column of the day.

    Returns:
        The rows, in no order, with `<amount>_<currency>` for each currency (for example total_amount_eur); null on a
        day without a rate, and where the amount does not fit numeric(18,4).
    """
    of_currency = {code: f"_{code.lower()}_per_eur" for code in {shop_currency, *currencies}}
    by_day = rates.group_by("rate_date").agg(
        *(
            nw.when(nw.col("currency_code") == code).then(nw.col("per_eur")).max().alias(name)
            for code, name in of_currency.items()
        )
    )
    converted = rows.join(by_day, left_on=day, right_on="rate_date", how="left")
    shop = _units(nw.col(of_currency[shop_currency]), RATE_PLACES)
    for code in currencies:
        product = _units(nw.col(amount), AMOUNT_PLACES) * _units(nw.col(of_currency[code]), RATE_PLACES)
        converted = _with_ratio(converted, f"{amount}_{code.lower()}", product, shop, AMOUNT_PLACES)
    return converted.drop(*of_currency.values())


def _units(decimal: nw.Expr, places: int) -> nw.Expr:
    """A decimal as a whole number of its last place; the wider type is for DuckDB, which would overflow."""
    whole: nw.Expr = decimal.cast(nw.Decimal(24, places)) * 10**places
    return whole.cast(nw.Int128)


def _with_ratio(
    rows: nw.LazyFrame[Any], name: str, numerator: nw.Expr, denominator: nw.Expr, places: int
) -> nw.LazyFrame[Any]:
    """Add numerator / denominator (whole; the latter positive), rounded half away from zero, of so many places.

    In steps, each a column: as one expression Polars computes the shared parts again and again (1.6 s a million rows).
    """
    terms = rows.with_columns(_numerator=numerator, _denominator=denominator)
    whole = terms.with_columns(
        _whole=(2 * nw.col("_numerator").abs() + nw.col("_denominator")) // (2 * nw.col("_denominator"))
    )
    fits = nw.when(nw.col("_whole") < AMOUNT_UNITS).then(nw.col("_whole"))
    signed = whole.with_columns(_whole=nw.when(nw.col("_numerator") < 0).then(fits * -1).otherwise(fits))
    last_place = nw.lit(f"0.{1:0{places}d}").cast(nw.Decimal(places, places))
    scaled = (nw.col("_whole").cast(nw.Decimal(18 + places, places)) * last_place).cast(nw.Decimal(18, places))
    return signed.with_columns(scaled.alias(name)).drop("_numerator", "_denominator", "_whole")

"""Exchange rates for every day, and amounts of the shop's currency in others.

An amount goes through the euro by the rates as published, in whole numbers, and is rounded once: half away from zero to
4 places. A rounded cross rate is never multiplied with (as article 4 of regulation (EC) 1103/97 has it for national
currency units). The products take 33 digits, which every engine has as decimals; a division of those none has exactly
(Spark rounds it, pandas refuses it), so that a quotient is guessed first and what is left of the product then tells the
last digits. Where the rates come from stays out (`providers/`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.transforms.decimals import of_units, whole_units

MAX_AGE = timedelta(days=7)
"""How long a fixing holds. The longest pause of the ECB since 1999 is 5 days (Easter, some Christmases); a currency
that it no longer fixes ends a week later."""

RATE_PLACES = 6
"""Decimal places of published rates; the ECB's have 6 at most."""
RATE_UNITS = nw.Decimal(15, 0)
"""A rate in whole numbers of its last place: below 1,000 million units of a currency for one euro."""
GUESS_ERROR = 1_000
"""More than a quotient below 2 x 10^18 is off, when it comes from floating-point numbers (53 bits)."""
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
        whole_units(nw.col("per_eur"), RATE_PLACES) * nw.lit(str(10**CROSS_PLACES)).cast(nw.Decimal(11, 0)),
        whole_units(nw.col("shop_rate"), RATE_PLACES).cast(RATE_UNITS),
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
    placed = rates.select(
        "rate_date",
        *(
            nw.when(nw.col("currency_code") == code).then(nw.col("per_eur")).alias(of_currency[code])
            for code in of_currency
        ),
    )
    by_day = placed.group_by("rate_date").agg(nw.col(name).max() for name in of_currency.values())
    converted = rows.join(by_day, left_on=day, right_on="rate_date", how="left")
    shop = whole_units(nw.col(of_currency[shop_currency]), RATE_PLACES).cast(RATE_UNITS)
    for code in currencies:
        rate = whole_units(nw.col(of_currency[code]), RATE_PLACES).cast(RATE_UNITS)
        product = whole_units(nw.col(amount), AMOUNT_PLACES) * rate
        converted = _with_ratio(converted, f"{amount}_{code.lower()}", product, shop, AMOUNT_PLACES)
    return converted.drop(*of_currency.values())


def _with_ratio(
    rows: nw.LazyFrame[Any], name: str, numerator: nw.Expr, denominator: nw.Expr, places: int
) -> nw.LazyFrame[Any]:
    """Add numerator / denominator (whole; the latter positive), rounded half away from zero, of so many places.

    In steps, each a column: as one expression Polars computes the shared parts again and again (1.6 s a million rows).
    """
    terms = rows.with_columns(_numerator=numerator, _denominator=denominator)
    size, divisor = nw.col("_numerator").abs(), nw.col("_denominator")
    ratio = size.cast(nw.Float64) / divisor.cast(nw.Float64)
    # Never above the quotient, so that nothing negative is divided, which engines round differently.
    guess = nw.when(ratio < 2 * AMOUNT_UNITS).then(ratio.floor()).cast(nw.Int64) - GUESS_ERROR
    guessed = terms.with_columns(_guess=guess)
    left = (size - nw.col("_guess").cast(nw.Decimal(19, 0)) * divisor).cast(nw.Int64)
    remaining = guessed.with_columns(_left=left, _denominator=divisor.cast(nw.Int64))
    rounded = (2 * nw.col("_left") + nw.col("_denominator")) // (2 * nw.col("_denominator"))
    whole = remaining.with_columns(_whole=nw.col("_guess") + rounded)
    fits = nw.when(nw.col("_whole") < AMOUNT_UNITS).then(nw.col("_whole"))
    signed = whole.with_columns(_whole=nw.when(nw.col("_numerator") < 0).then(fits * -1).otherwise(fits))
    return signed.with_columns(of_units(nw.col("_whole"), places).alias(name)).drop(
        "_numerator", "_denominator", "_guess", "_left", "_whole"
    )

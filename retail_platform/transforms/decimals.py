"""Decimals in whole numbers of their last place, so that every engine computes with them exactly.

Engines differ in what a product of decimals holds: pandas allows 38 digits, counts nineteen for any whole number, and
one more; DuckDB allows 18 where both factors have no more.
"""

import narwhals as nw


def whole_units(decimal: nw.Expr, places: int) -> nw.Expr:
    """A decimal as a whole number of its last place, for example an amount in ten-thousandths.

    Args:
        decimal: at most 18 digits.
        places: those after the point.

    Returns:
        A decimal of 19 digits without places.
    """
    one = nw.lit(str(10**places)).cast(nw.Decimal(places + 1, 0))
    return (decimal.cast(nw.Decimal(24, places)) * one).cast(nw.Decimal(19, 0))


def of_units(units: nw.Expr, places: int) -> nw.Expr:
    """The decimal of so many places, 18 digits in all, that a whole number (Int64) of its last place says."""
    last_place = nw.lit(f"0.{1:0{places}d}").cast(nw.Decimal(places, places))
    return (units.cast(nw.Decimal(19 + places, places)) * last_place).cast(nw.Decimal(18, places))

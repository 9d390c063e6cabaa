"""Sale lines whose price or quantity is far from what their product usually has, with the band that was expected.

Two rules on logarithms, for prices and quantities vary by factors: the robust z (Iglewicz, Hoaglin, "How to Detect and
Handle Outliers", 1993) and the fences of the quartiles (Tukey, "Exploratory Data Analysis", 1977). Days of revenue stay
out (`anomalies.py`). An outlier is a line to look at, not one to reject: most of them are wholesalers' orders.

The least spreads are from the public data (1.02 million product lines): customers without an account pay about twice
the price, clearances go down to a fifth, and half of the lines are of one or two pieces while wholesalers take a dozen
or two. With spreads of 0.2 and 0.5 these are flagged by the ten thousands (79,000 prices, 20,000 quantities). With
0.5 and 1 there are 2,201 and 3,527, among them 74,215 jars that were cancelled at once
and a basket for 649.50 pounds.
"""

from dataclasses import dataclass

import polars as pl

from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

MEASURES = ("unit_price", "quantity")
NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""
BANDS = pl.Schema(
    {
        "stock_code": pl.String(),
        "measure": pl.String(),
        "line_count": pl.Int64(),
        "is_judged": pl.Boolean(),
        "expected": pl.Float64(),
        "spread": pl.Float64(),
        "z_low": pl.Float64(),
        "z_high": pl.Float64(),
        "iqr_low": pl.Float64(),
        "iqr_high": pl.Float64(),
    }
)
"""Columns of the bands of a product."""
FLAGS = ("measure", "value", "expected", "low", "high", "robust_z", "rule")
"""Columns that a flagged line gets."""


@dataclass(frozen=True)
class OutlierRule:
    """How far is far.

    Attributes:
        minimum_lines: a product with fewer lines is not judged.
        cutoff: robust z beyond which a value is an outlier.
        fence: quartile ranges beyond the quartiles at which the fences stand; 3 is Tukey's "far out".
        price_spread: least robust standard deviation of the logarithm of the price; 0.5 is a band of a factor 5.8.
        quantity_spread: the same of the quantity; 1 is a band of a factor 33.
    """

    minimum_lines: int = 30
    cutoff: float = 3.5
    fence: float = 3.0
    price_spread: float = 0.5
    quantity_spread: float = 1.0

    def spread_of(self, measure: str) -> float:
        """The least robust standard deviation of the measure's logarithm: many products have one price only."""
        return {"unit_price": self.price_spread, "quantity": self.quantity_spread}[measure]


def product_bands(lines: pl.LazyFrame, rule: OutlierRule | None = None) -> pl.DataFrame:
    """Learn from lines what is usual for each product.

    Args:
        lines: silver lines (stock_code, quantity, unit_price) that the usual is learnt from.
        rule: how far is far.

    Returns:
        Two rows per product, schema `BANDS`, by product and measure. quantity is without its sign, units; unit_price in
        the shop's currency. expected is the median; spread, without a unit, is the robust standard deviation of the
        logarithm; the bands are those of the two rules. Of a product with too few lines is_judged is false and the
        figures are null.
    """
    rule = rule or OutlierRule()
    measured = [_bands(lines, measure, rule) for measure in MEASURES]
    return pl.concat(measured).sort("stock_code", "measure").select(list(BANDS))


def flagged_lines(lines: pl.LazyFrame, bands: pl.DataFrame, rule: OutlierRule | None = None) -> pl.DataFrame:
    """Find the lines outside a band of their product.

    Args:
        lines: silver lines, those to judge; others than the bands were learnt from, or the same.
        bands: what is usual, schema `BANDS`.
        rule: how far is far, the one of the bands.

    Returns:
        One row per flagged line and measure: the line's columns and `FLAGS`, farthest first. value and expected as in
        the bands; low and high are the band that the value is outside of, the wider one if of both; rule is
        `robust_z`, `iqr` or `both`. Lines of products without bands are not judged and never flagged.
    """
    rule = rule or OutlierRule()
    flagged = [_flagged(lines, bands, measure, rule) for measure in MEASURES]
    keys = [name for name in ("sale_date", "stock_code", "source_row") if name in lines.collect_schema()]
    found = pl.concat(flagged).collect(engine="streaming")
    return found.sort(pl.col("robust_z").abs(), *keys, descending=[True, *[False] * len(keys)])


def flagged_by_day(flagged: pl.DataFrame) -> pl.DataFrame:
    """How many lines of each day are far from usual, by measure; days with one only.

    Args:
        flagged: sale_date and measure of each flagged line.

    Returns:
        sale_date, unit_price and quantity (lines), by day.
    """
    of_measure = {name: (pl.col("measure") == name).sum() for name in MEASURES}
    return flagged.group_by("sale_date").agg(**of_measure).sort("sale_date")


def bands_hold_what_is_expected(bands: pl.DataFrame) -> Finding:
    """Whether each band has its product's median inside, and exactly the products with enough lines have one.

    Args:
        bands: schema `BANDS`.
    """
    expected, minimum = pl.col("expected"), OutlierRule.minimum_lines
    is_inside = expected.is_between("z_low", "z_high") & expected.is_between("iqr_low", "iqr_high")
    has_none = pl.all_horizontal(pl.col("expected", "spread", "z_low", "z_high", "iqr_low", "iqr_high").is_null())
    is_right = pl.when("is_judged").then(is_inside).otherwise(has_none)
    is_right &= pl.col("is_judged") == (pl.col("line_count") >= minimum)
    wrong = bands.filter(~is_right.fill_null(False))
    return Finding(
        "bands_hold_what_is_expected",
        wrong.is_empty(),
        f"{wrong.height} of {bands.height} bands are without their median, or of a product with the wrong number of "
        "lines; expected none: mend the rule.",
        {"wrong": wrong.head(EVIDENCE_ROWS)},
    )


def flags_are_outside_their_band(flagged: pl.DataFrame, bands: pl.DataFrame) -> Finding:
    """Whether each flagged value is outside the band that it is flagged by, and its product has one.

    Args:
        flagged: rows of `flagged_lines`.
        bands: schema `BANDS`.
    """
    judged = bands.filter("is_judged").select("stock_code", "measure")
    is_inside = pl.col("value").is_between("low", "high")
    inside = flagged.filter(is_inside)
    unjudged = flagged.join(judged, on=["stock_code", "measure"], how="anti")
    return Finding(
        "flags_are_outside_their_band",
        inside.is_empty() and unjudged.is_empty(),
        f"Of {flagged.height} values {inside.height} are inside their band, {unjudged.height} of products without "
        "one; expected none: judge every day again, by deleting the table.",
        {"inside": inside.head(EVIDENCE_ROWS), "unjudged": unjudged.head(EVIDENCE_ROWS)},
    )


def _bands(lines: pl.LazyFrame, measure: str, rule: OutlierRule) -> pl.DataFrame:
    """The bands of one measure; on logarithms, taken back at the end. Of counts: products have few prices each."""
    counted = lines.group_by("stock_code", measure).agg(pl.len().cast(pl.Int64).alias("lines"))
    logarithm = pl.col(measure).cast(pl.Float64).abs().log()
    counts = counted.collect(engine="streaming").select("stock_code", "lines", logarithm.alias("value"))
    quartiles = (
        counts.sort("value")
        .group_by("stock_code")
        .agg(line_count=pl.col("lines").sum(), median=_quantile(0.5), lower=_quantile(0.25), upper=_quantile(0.75))
    )
    distances = counts.join(quartiles, on="stock_code").with_columns(value=(pl.col("value") - pl.col("median")).abs())
    deviations = distances.sort("value").group_by("stock_code").agg(deviation=_quantile(0.5))
    figures = quartiles.join(deviations, on="stock_code")
    median, least = pl.col("median"), rule.spread_of(measure)
    spread = (NORMAL_MAD * pl.col("deviation")).clip(lower_bound=least)
    # The quartile range of a normal distribution is 1.349 standard deviations: the same floor for both rules.
    reach = rule.fence * (pl.col("upper") - pl.col("lower")).clip(lower_bound=1.349 * least)
    limits = {
        "expected": median.exp(),
        "spread": spread,
        "z_low": (median - rule.cutoff * spread).exp(),
        "z_high": (median + rule.cutoff * spread).exp(),
        "iqr_low": (pl.col("lower") - reach).exp(),
        "iqr_high": (pl.col("upper") + reach).exp(),
    }
    enough = pl.col("line_count") >= rule.minimum_lines
    judged = (pl.when(enough).then(limit).alias(name) for name, limit in limits.items())
    return figures.select(
        "stock_code", pl.lit(measure).alias("measure"), "line_count", enough.alias("is_judged"), *judged
    )


def _quantile(share: float) -> pl.Expr:
    """The quantile, linear between neighbours, of sorted values with the lines that have each."""
    place = share * (pl.col("lines").sum() - 1)
    low = pl.col("value").filter(pl.col("lines").cum_sum() > place.floor()).first()
    high = pl.col("value").filter(pl.col("lines").cum_sum() > place.ceil()).first()
    return low + (high - low) * (place - place.floor())


def _flagged(lines: pl.LazyFrame, bands: pl.DataFrame, measure: str, rule: OutlierRule) -> pl.LazyFrame:
    """The flagged lines of one measure."""
    judged = bands.lazy().filter((pl.col("measure") == measure) & pl.col("is_judged")).drop("line_count", "is_judged")
    value = pl.col("value")
    by_z = (value < pl.col("z_low")) | (value > pl.col("z_high"))
    by_iqr = (value < pl.col("iqr_low")) | (value > pl.col("iqr_high"))
    compared = lines.with_columns(value=pl.col(measure).cast(pl.Float64).abs()).join(judged, on="stock_code")
    flagged = compared.filter(by_z | by_iqr).with_columns(
        robust_z=(value.log() - pl.col("expected").log()) / pl.col("spread"),
        low=_either(by_z, by_iqr, pl.min_horizontal("z_low", "iqr_low"), pl.col("z_low"), pl.col("iqr_low")),
        high=_either(by_z, by_iqr, pl.max_horizontal("z_high", "iqr_high"), pl.col("z_high"), pl.col("iqr_high")),
        rule=_either(by_z, by_iqr, pl.lit("both"), pl.lit("robust_z"), pl.lit("iqr")),
    )
    return flagged.select(*lines.collect_schema(), *FLAGS)


def _either(by_z: pl.Expr, by_iqr: pl.Expr, both: pl.Expr, z: pl.Expr, iqr: pl.Expr) -> pl.Expr:
    return pl.when(by_z & by_iqr).then(both).when(by_z).then(z).otherwise(iqr)

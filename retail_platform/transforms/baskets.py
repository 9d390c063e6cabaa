"""What is bought together: pairs of products on one invoice, rules from them, and suggestions per product.

Counted by products of sparse matrices, invoices by products, one for each part of the invoices: memory grows with the
pairs of products, not with the lines. Which invoices count (days, cancellations, line types)
stays with the caller.
"""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_platform.contracts import PRODUCT_PAIR

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MINIMUM_PAIRS = 50
"""Invoices that a pair shares at least; fewer say little of either product."""
COMMON_PCT = 0.25
"""Support in percent from which a pair is published: a shop with ten times the sales has many times the pairs of 50
invoices, but not those of a quarter of a percent of them, of the public data 48. Suggestions are published anyway."""
SUGGESTIONS = 5
"""Products suggested with a product."""

BASKETS = pl.Schema({"invoice_no": pl.String(), "sale_date": pl.Date(), "stock_code": pl.String()})
"""Columns of what invoices hold."""

PAIRS = pl.Schema(
    {
        "stock_code": pl.String(),
        "other_stock_code": pl.String(),
        "pair_count": pl.Int64(),
        "invoice_count": pl.Int64(),
        "other_invoice_count": pl.Int64(),
        "support_pct": pl.Float64(),
        "confidence_pct": pl.Float64(),
        "lift": pl.Float64(),
    }
)
"""Columns of a rule `stock_code -> other_stock_code`; both directions of a pair are rows."""


def basket_rules(parts: Iterable[pl.DataFrame], minimum_pairs: int) -> pl.DataFrame:
    """Find the pairs of products that share invoices, with support, confidence and lift.

    Args:
        parts: `BASKETS`, any number of rows for each pair of invoice and product; each invoice in one part, of which
            one is held at a time.
        minimum_pairs: a pair has to share at least so many invoices.

    Returns:
        One row per ordered pair, schema `PAIRS`, sorted by stock_code and other_stock_code: pair_count, the invoices
        with both; invoice_count and other_invoice_count, those with each; support_pct, pair_count in percent of all
        invoices; confidence_pct, in percent of invoice_count; lift, confidence over the other's share of all invoices
        (1 when they have nothing to do with each other).

    Raises:
        ValueError: minimum_pairs is below 1.
    """
    if minimum_pairs < 1:
        raise ValueError(f"minimum_pairs is {minimum_pairs}; expected at least 1, a pair that never occurs is no rule.")
    codes, shared, invoice_count = _shared_invoices(parts)
    counts = shared.diagonal()
    shared.setdiag(0)
    shared.data[shared.data < minimum_pairs] = 0
    shared.eliminate_zeros()
    together = shared.tocoo()
    first, second = together.row, together.col
    pairs = pl.DataFrame(
        {
            "stock_code": codes.gather(first),
            "other_stock_code": codes.gather(second),
            "pair_count": together.data,
            "invoice_count": counts[first],
            "other_invoice_count": counts[second],
        }
    )
    return _with_measures(pairs, invoice_count).select(pl.col(name).cast(dtype) for name, dtype in PAIRS.items())


def suggestions(rules: pl.DataFrame, per_product: int) -> pl.DataFrame:
    """Choose what to suggest with each product: what is bought with it most, beyond what chance would give.

    Args:
        rules: as `basket_rules` gives them.
        per_product: suggestions a product may have.

    Returns:
        The rules with lift above 1 and a column position, 1 for the highest confidence (ties by lift, then code);
        sorted by stock_code and position.
    """
    order = ["confidence_pct", "lift", "other_stock_code"]
    ranked = rules.filter(pl.col("lift") > 1).sort("stock_code", *order, descending=[False, True, True, False])
    numbered = ranked.with_columns(position=pl.int_range(1, pl.len() + 1).over("stock_code").cast(pl.Int32))
    return numbered.filter(pl.col("position") <= per_product)


def product_baskets(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The products of each uncancelled invoice, guests' included.

    Args:
        lines: silver lines of whole days (invoice_no, sale_date, stock_code, line_type, is_cancelled).

    Returns:
        `BASKETS`, one row per (invoice_no, sale_date) and stock_code.
    """
    bought = (pl.col("line_type") == "product") & ~pl.col("is_cancelled")
    return lines.filter(bought).select(list(BASKETS)).unique()


def product_pairs(parts: Iterable[pl.DataFrame], as_of: date, minimum_pairs: int = MINIMUM_PAIRS) -> pl.DataFrame:
    """Make the table of pairs and suggestions.

    Args:
        parts: as `product_baskets` gives them, of whole days each, of which one part is held at a time.
        as_of: the last day they cover.
        minimum_pairs: as `basket_rules` takes it.

    Returns:
        Rows of contract `ProductPair`, ordered by stock_code and other_stock_code: both directions of the pairs of
        `COMMON_PCT`, and of those of which one direction is suggested.
    """
    invoice_key = pl.col("row").first().over("invoice_no", "sale_date")
    numbered = (part.with_row_index("row").with_columns(invoice_key=invoice_key) for part in parts)
    rules = basket_rules(numbered, minimum_pairs)
    pair = ["stock_code", "other_stock_code"]
    positions = suggestions(rules, SUGGESTIONS).select(*pair, "position")
    suggested = pl.concat(
        [positions.select(pair), positions.select(pair[::-1]).rename(dict(zip(pair[::-1], pair, strict=True)))]
    )
    is_common = pl.col("support_pct") >= COMMON_PCT
    published = pl.concat([rules.filter(is_common), rules.filter(~is_common).join(suggested, on=pair, how="semi")])
    return (
        published.join(positions, on=pair, how="left")
        .with_columns(pl.col("support_pct", "confidence_pct", "lift").round(6), as_of_date=pl.lit(as_of))
        .select(pl.col(name).cast(dtype) for name, dtype in PRODUCT_PAIR.schema.items())
        .sort(pair)
    )


def _shared_invoices(parts: Iterable[pl.DataFrame]) -> tuple[pl.Series, "csr_array", int]:
    """Product codes; the invoices that each pair of their positions shares (a code with itself: those that have it);
    the number of invoices."""
    from scipy.sparse import csr_array

    places: dict[str, int] = {}
    shared, invoice_count = csr_array((0, 0), dtype=np.int32), 0
    for part in parts:
        baskets = part.select("invoice_key", "stock_code").unique()
        for code in baskets["stock_code"].unique().sort():
            places.setdefault(code, len(places))
        invoices = baskets["invoice_key"].rank("dense").to_numpy() - 1
        products = baskets["stock_code"].replace_strict(places, return_dtype=pl.Int32).to_numpy()
        shape = (baskets["invoice_key"].n_unique(), len(places))
        matrix = csr_array((np.ones(baskets.height, np.int32), (invoices, products)), shape=shape)
        shared.resize((len(places), len(places)))
        shared, invoice_count = shared + matrix.T @ matrix, invoice_count + shape[0]
    return pl.Series(list(places), dtype=pl.String), shared, invoice_count


def _with_measures(pairs: pl.DataFrame, invoice_count: int) -> pl.DataFrame:
    confidence = pl.col("pair_count") / pl.col("invoice_count")
    return pairs.with_columns(
        support_pct=100 * pl.col("pair_count") / invoice_count,
        confidence_pct=100 * confidence,
        lift=confidence / (pl.col("other_invoice_count") / invoice_count),
    ).sort("stock_code", "other_stock_code")

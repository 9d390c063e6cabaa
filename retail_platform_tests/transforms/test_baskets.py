"""Pairs of products: baskets small enough to count by hand, and a self-join in DuckDB on many random ones."""

from datetime import date

import duckdb
import numpy as np
import polars as pl
import pytest

from retail_platform.contracts import PRODUCT_PAIR
from retail_platform.transforms.baskets import PAIRS, basket_rules, product_baskets, product_pairs, suggestions
from retail_platform.transforms.quality import contract_holds, pairs_are_consistent
from retail_platform_tests.transforms.frames import silver_lines

BASKETS = {1: "AB", 2: "AB", 3: "ABC", 4: "AC", 5: "D"}


def lines(baskets: dict[int, str]) -> pl.DataFrame:
    rows = [(invoice, code) for invoice, codes in baskets.items() for code in codes]
    return pl.DataFrame(rows, schema={"invoice_key": pl.Int64, "stock_code": pl.String}, orient="row")


def test_measures_are_what_a_person_counts() -> None:
    rules = basket_rules([lines(BASKETS)], minimum_pairs=2)
    assert rules.schema == PAIRS
    assert rules.rows() == [
        ("A", "B", 3, 4, 3, 60.0, 75.0, pytest.approx(0.75 / 0.6)),
        ("A", "C", 2, 4, 2, 40.0, 50.0, pytest.approx(0.5 / 0.4)),
        ("B", "A", 3, 3, 4, 60.0, 100.0, pytest.approx(1 / 0.8)),
        ("C", "A", 2, 2, 4, 40.0, 100.0, pytest.approx(1 / 0.8)),
    ]


def test_two_lines_of_one_product_are_one_purchase() -> None:
    assert basket_rules([lines({1: "AAB", 2: "ABB"})], 1).equals(basket_rules([lines({1: "AB", 2: "AB"})], 1))


def test_without_a_frequent_pair_there_is_no_rule() -> None:
    assert basket_rules([lines(BASKETS)], minimum_pairs=9).equals(PAIRS.to_frame())


def test_a_minimum_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum_pairs is 0; expected at least 1"):
        basket_rules([lines(BASKETS)], 0)


def test_suggestions_are_the_most_confident_and_never_by_chance() -> None:
    # Everybody buys X: whoever buys A buys X too, which says nothing about A.
    chosen = suggestions(basket_rules([lines({1: "ABX", 2: "ABX", 3: "ACX", 4: "X"})], 1), per_product=1)
    by_product = {row["stock_code"]: (row["other_stock_code"], row["position"]) for row in chosen.to_dicts()}
    assert by_product == {"A": ("B", 1), "B": ("A", 1), "C": ("A", 1)}


def test_counts_equal_a_self_join() -> None:
    random = np.random.default_rng(1)
    baskets = pl.DataFrame({"invoice_key": random.integers(0, 400, 6_000), "stock_code": random.integers(0, 60, 6_000)})
    baskets = baskets.with_columns(pl.col("stock_code").cast(pl.String))
    expected = duckdb.sql(
        """
        with baskets as (select distinct * from baskets),
        products as (select stock_code, count(*) as invoices from baskets group by 1)
        select a.stock_code, b.stock_code as other_stock_code, count(*) as pair_count,
            100 * count(*) / (select count(distinct invoice_key) from baskets) as support_pct,
            100 * count(*) / any_value(p.invoices) as confidence_pct,
            count(*) * (select count(distinct invoice_key) from baskets)
                / (any_value(p.invoices) * any_value(q.invoices)) as lift
        from baskets a join baskets b on a.invoice_key = b.invoice_key and a.stock_code <> b.stock_code
        join products p on p.stock_code = a.stock_code join products q on q.stock_code = b.stock_code
        group by 1, 2 having count(*) >= 8 order by 1, 2
        """
    ).pl()
    found = basket_rules([baskets], 8).select(expected.columns)
    parts = [baskets.filter(pl.col("invoice_key").is_between(start, start + 99)) for start in (300, 0, 200, 100, 400)]
    assert basket_rules(parts, 8).select(expected.columns).equals(found)
    assert found.drop("support_pct", "confidence_pct", "lift").equals(
        expected.select("stock_code", "other_stock_code", "pair_count")
    )
    for measure in ("support_pct", "confidence_pct", "lift"):
        assert found[measure].to_numpy() == pytest.approx(expected[measure].to_numpy())


def baskets_of(*groups: tuple[int, str]) -> pl.DataFrame:
    """So many invoices with each group of products, all of one day."""
    rows = [
        (f"{group}-{number}", date(2011, 1, 10), code)
        for group, (count, codes) in enumerate(groups)
        for number in range(count)
        for code in codes
    ]
    return pl.DataFrame(rows, schema=["invoice_no", "sale_date", "stock_code"], orient="row")


def test_a_basket_holds_the_uncancelled_products_of_an_invoice_and_day() -> None:
    lines = silver_lines(
        {"stock_code": "A"},
        {"stock_code": "A", "customer_id": None},
        {"stock_code": "A", "sale_date": date(2011, 1, 11)},
        {"stock_code": "B", "is_cancelled": True},
        {"stock_code": "POST", "line_type": "postage"},
    )

    assert product_baskets(lines.lazy()).collect().sort("sale_date").rows() == [
        ("1", date(2011, 1, 10), "A"),
        ("1", date(2011, 1, 11), "A"),
    ]


def test_the_table_has_every_pair_and_numbers_the_suggestions() -> None:
    """A is bought with B as chance would have it (both in 60 of 100), with C more often than that."""
    pairs = product_pairs([baskets_of((50, "ABC"), (10, "AC"), (40, "BD"))], date(2011, 1, 31), 20)

    assert contract_holds(PRODUCT_PAIR, pairs).passed
    assert pairs.select("stock_code", "other_stock_code", "pair_count", "position").rows() == [
        ("A", "B", 50, None),
        ("A", "C", 60, 1),
        ("B", "A", 50, None),
        ("B", "C", 50, None),
        ("B", "D", 40, 1),
        ("C", "A", 60, 1),
        ("C", "B", 50, None),
        ("D", "B", 40, 1),
    ]


def test_of_rare_pairs_only_the_suggested_are_in_the_table() -> None:
    """2 of 1,000 invoices share A and B, far fewer than chance would give; C and D go together."""
    pairs = product_pairs([baskets_of((498, "A"), (498, "B"), (2, "AB"), (2, "CD"))], date(2011, 1, 31), 2)

    assert pairs.select("stock_code", "other_stock_code", "position").rows() == [("C", "D", 1), ("D", "C", 1)]


def test_a_pair_has_both_directions_where_one_is_suggested() -> None:
    """B is in 2 of 1,000 invoices, and it is the sixth of A's partners: only A is suggested with B."""
    baskets = baskets_of((2, "AB"), (3, "AC"), (3, "AD"), (3, "AE"), (3, "AF"), (3, "AG"), (983, "Z"))
    pairs = product_pairs([baskets], date(2011, 1, 31), 2)
    both = pairs.filter(pl.any_horizontal(pl.col("stock_code", "other_stock_code") == "B"))

    assert both.select("stock_code", "other_stock_code", "position").rows() == [("A", "B", None), ("B", "A", 1)]
    assert pairs_are_consistent(pairs, baskets).passed


def test_a_wrong_count_is_found() -> None:
    baskets = baskets_of((50, "ABC"), (10, "AC"), (40, "BD"))
    pairs = product_pairs([baskets], date(2011, 1, 31), 20)

    assert pairs_are_consistent(pairs, baskets).passed
    assert pairs_are_consistent(pairs.clear(), baskets.clear()).passed
    more = pairs.with_columns(pl.col("pair_count") + 1)
    assert pairs_are_consistent(more, baskets).evidence["miscounted"].height == pairs.height
    assert pairs_are_consistent(pairs.head(1), baskets).evidence["one_sided"].height == 1
    fewer = pairs.with_columns(invoice_count=pl.lit(45, dtype=pl.Int64), other_invoice_count=pl.lit(45, dtype=pl.Int64))
    assert pairs_are_consistent(fewer, baskets).evidence["too_much"].height == 6

"""Pairs of products: baskets small enough to count by hand, and a self-join in DuckDB on many random ones."""

import duckdb
import numpy as np
import polars as pl
import pytest

from retail_platform.transforms.baskets import PAIRS, basket_rules, suggestions

BASKETS = {1: "AB", 2: "AB", 3: "ABC", 4: "AC", 5: "D"}


def lines(baskets: dict[int, str]) -> pl.DataFrame:
    rows = [(invoice, code) for invoice, codes in baskets.items() for code in codes]
    return pl.DataFrame(rows, schema={"invoice_key": pl.Int64, "stock_code": pl.String}, orient="row")


def test_measures_are_what_a_person_counts() -> None:
    rules = basket_rules(lines(BASKETS), minimum_pairs=2)
    assert rules.schema == PAIRS
    assert rules.rows() == [
        ("A", "B", 3, 4, 3, 60.0, 75.0, pytest.approx(0.75 / 0.6)),
        ("A", "C", 2, 4, 2, 40.0, 50.0, pytest.approx(0.5 / 0.4)),
        ("B", "A", 3, 3, 4, 60.0, 100.0, pytest.approx(1 / 0.8)),
        ("C", "A", 2, 2, 4, 40.0, 100.0, pytest.approx(1 / 0.8)),
    ]


def test_two_lines_of_one_product_are_one_purchase() -> None:
    assert basket_rules(lines({1: "AAB", 2: "ABB"}), 1).equals(basket_rules(lines({1: "AB", 2: "AB"}), 1))


def test_without_a_frequent_pair_there_is_no_rule() -> None:
    assert basket_rules(lines(BASKETS), minimum_pairs=9).equals(PAIRS.to_frame())


def test_a_minimum_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum_pairs is 0; expected at least 1"):
        basket_rules(lines(BASKETS), 0)


def test_suggestions_are_the_most_confident_and_never_by_chance() -> None:
    # Everybody buys X: whoever buys A buys X too, which says nothing about A.
    chosen = suggestions(basket_rules(lines({1: "ABX", 2: "ABX", 3: "ACX", 4: "X"}), 1), per_product=1)
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
    found = basket_rules(baskets, 8).select(expected.columns)
    assert found.drop("support_pct", "confidence_pct", "lift").equals(
        expected.select("stock_code", "other_stock_code", "pair_count")
    )
    for measure in ("support_pct", "confidence_pct", "lift"):
        assert found[measure].to_numpy() == pytest.approx(expected[measure].to_numpy())

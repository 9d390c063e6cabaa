"""Scores: the example of docs/quality.md, days without a basis, and the same formulas with fractions."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_platform.contracts.rules import RULES
from retail_platform.reference import read_country_aliases
from retail_platform.transforms.countries import alias_keys, unplaced_lines
from retail_platform.transforms.day_quality import REASONS
from retail_platform.transforms.scores import (
    COUNTS,
    DIMENSIONS,
    FAULTS,
    INVALID_REASONS,
    SCORES,
    ScoreRule,
    delivery_hours,
    low_scores,
    missing_values,
    outlier_values,
    quality_scores,
    sales_counts,
    standing_rejects,
    unrelated_values,
)

DAY = date(2011, 1, 10)
EXAMPLE = {
    "required_values": 7_000, "missing_values": 14,
    "judged_values": 1_900, "outlier_values": 19,
    "related_values": 3_880, "unrelated_values": 97,
    "identified_rows": 990, "duplicate_rows": 20,
    "checked_rows": 1_000, "invalid_rows": 8,
    "delivery_hours": 60.0,
}  # fmt: skip
"""The day of docs/quality.md."""


def counts(*days: dict[str, Any]) -> pl.DataFrame:
    rows = [dict.fromkeys(COUNTS) | {"table_name": "silver.sales", "sale_date": DAY} | day for day in days]
    return pl.DataFrame(rows, schema=COUNTS)


def scored(**day: Any) -> dict[str, Any]:
    found = quality_scores(counts(day))
    assert found.schema == SCORES
    return found.row(0, named=True)


def test_the_example_of_the_page() -> None:
    assert scored(**EXAMPLE) == {
        "table_name": "silver.sales",
        "sale_date": DAY,
        "completeness_score": Decimal("99.8"),
        "accuracy_score": Decimal("99"),
        "consistency_score": Decimal("97.5"),
        "timeliness_score": Decimal("75"),
        "uniqueness_score": Decimal("97.9798"),
        "validity_score": Decimal("99.2"),
        "total_score": Decimal("96.3470"),
        "basis_pct": Decimal("100"),
    }


@pytest.mark.parametrize(
    ("hours", "score"), [(0, 100), (24, 100), (96, 50), (168, 0), (2208, 0), (2208.1, None), (None, None)]
)
def test_timeliness_falls_from_a_day_to_a_week_and_is_nothing_for_history(hours: float, score: int | None) -> None:
    assert scored(delivery_hours=hours)["timeliness_score"] == (None if score is None else Decimal(score))


def test_what_has_no_basis_is_null_and_weighs_nothing() -> None:
    found = scored(
        required_values=10, missing_values=0, checked_rows=4, invalid_rows=1, related_values=5, unrelated_values=0
    )
    assert found["accuracy_score"] is None
    # 100 * 20, 75 * 20 and 100 * 20, over 60.
    assert (found["total_score"], found["basis_pct"]) == (Decimal("91.6667"), Decimal(60))
    assert scored(required_values=0, missing_values=0)["completeness_score"] is None


def test_a_total_needs_half_of_the_weights() -> None:
    found = scored(required_values=10, missing_values=0, checked_rows=4, invalid_rows=0)
    assert (found["validity_score"], found["basis_pct"], found["total_score"]) == (Decimal(100), Decimal(40), None)
    assert scored()["total_score"] is None


@given(st.dictionaries(st.sampled_from(sorted(FAULTS)), st.tuples(st.integers(0, 50), st.integers(0, 50))))
def test_scores_are_those_of_exact_fractions(parts: dict[str, tuple[int, int]]) -> None:
    day: dict[str, Any] = {}
    exact: dict[str, Fraction | None] = {}
    for dimension, (faults, good) in parts.items():
        names = FAULTS[dimension]
        day |= {names[0]: faults, names[1]: faults + good}
        exact[dimension] = Fraction(100 * good, faults + good) if faults + good else None
    found = scored(**day)
    for dimension in DIMENSIONS:
        score, expected = found[f"{dimension}_score"], exact.get(dimension)
        assert score is None if expected is None else abs(Fraction(score) - expected) <= Fraction(1, 10_000)
    weights = ScoreRule().weights
    known = {name: score for name, score in exact.items() if score is not None}
    carried = sum(Fraction(weights[name]) for name in known)
    if carried >= 50:
        total = sum(score * Fraction(weights[name]) for name, score in known.items()) / carried
        assert abs(Fraction(found["total_score"]) - total) <= Fraction(1, 10_000)
    else:
        assert found["total_score"] is None


def test_low_scores_are_named_newest_day_first() -> None:
    days: list[dict[str, Any]] = [
        EXAMPLE | {"sale_date": date(2011, 1, 9)},
        EXAMPLE | {"duplicate_rows": 495, "invalid_rows": 200},
    ]
    assert low_scores(quality_scores(counts(*days))).rows() == [
        ("silver.sales", DAY, "uniqueness", 50.0, 90.0),
        ("silver.sales", DAY, "validity", 80.0, 95.0),
        ("silver.sales", DAY, "consistency", 97.5, 98.0),
        ("silver.sales", date(2011, 1, 9), "consistency", 97.5, 98.0),
    ]


def test_a_day_that_is_late_and_nothing_else_keeps_its_total() -> None:
    perfect = EXAMPLE | {faults: 0 for faults, _ in FAULTS.values()}
    late = quality_scores(counts(perfect | {"delivery_hours": 1_000.0}))
    assert late["total_score"].to_list() == [Decimal(90)]
    assert low_scores(late)["dimension"].to_list() == ["timeliness"]


def test_every_rule_that_drops_rows_says_what_to_do_about_one() -> None:
    assert [rule.name for rule in RULES if rule.severity == "drop" and not rule.row_advice] == []


def test_every_reason_of_a_reject_is_a_fault_of_one_dimension() -> None:
    missing = {"missing_invoice", "missing_stock_code"}
    assert set(REASONS) - set(INVALID_REASONS) == {*missing, "duplicate_line", "superseded"}
    assert {rule.dimension for rule in RULES} - {None} <= FAULTS.keys()


def test_counts_of_sales_are_of_the_rejects_that_count() -> None:
    reasons = ["zero_price"] * 3 + ["test_line"] + ["duplicate_line"] * 5
    standing = pl.DataFrame({"sale_date": [DAY] * len(reasons), "reason": reasons})
    quality = pl.DataFrame({"sale_date": [DAY], "accepted_rows": [100]})
    missing = pl.DataFrame({"sale_date": [DAY], "required_values": [700], "missing_values": [7]})
    found = sales_counts(quality, standing, missing).row(0, named=True)
    assert found == dict.fromkeys(COUNTS) | {
        "table_name": "silver.sales",
        "sale_date": DAY,
        "checked_rows": 109,
        "invalid_rows": 4,
        "identified_rows": 105,
        "duplicate_rows": 5,
        "required_values": 700,
        "missing_values": 7,
    }


def test_what_a_correction_restates_is_no_fault_whatever_it_was_rejected_for() -> None:
    rows = [
        ("1 ", "old", "invalid_price"),
        ("2", "old", "zero_price"),
        ("1", "new", "test_line"),
        ("3", "old", "superseded"),
    ]
    rejects = pl.LazyFrame(rows, ["invoice_no", "delivery_id", "reason"], orient="row").with_columns(
        sale_date=DAY, file_sha256=pl.lit("f"), source_row=1
    )
    lines = pl.LazyFrame({"sale_date": [DAY, DAY], "invoice_no": ["1", "3"], "delivery_id": ["new", "new"]})
    ranks = pl.DataFrame({"delivery_id": ["old", "new", "new"], "delivery_rank": [0, 1, 1]})
    found = standing_rejects(lines, rejects, ranks).sort("reason")
    assert found.select("delivery_id", "reason").rows() == [("new", "test_line"), ("old", "zero_price")]


def test_a_correction_of_one_row_leaves_the_other_rejects_of_its_invoice_standing() -> None:
    rejects = pl.LazyFrame(
        {"invoice_no": ["1\u00a0", "1", "1"], "delivery_id": ["f#0", "f#0", "f#0"], "source_row": [1, 2, 3]}
    ).with_columns(sale_date=DAY, file_sha256=pl.lit("f"), reason=pl.Series(["zero_price", "zero_price", "superseded"]))
    lines = pl.LazyFrame({"sale_date": [DAY], "invoice_no": ["1"], "delivery_id": ["c#0"]})
    ranks = pl.DataFrame({"delivery_id": ["f#0", "c#0", "g#0"], "delivery_rank": [0, 1, 2]})
    found = standing_rejects(lines, rejects, ranks, ["c#0"], ["f-0-1"])
    assert found["source_row"].to_list() == [2]
    again = lines.with_columns(delivery_id=pl.lit("g#0"))
    assert standing_rejects(again, rejects, ranks, ["c#0"], ["f-0-1"]).is_empty()


def test_null_and_blank_values_are_missing() -> None:
    rows = pl.LazyFrame({"sale_date": [DAY, DAY, None], "a": ["x", " ", None], "b": [None, "y", None]})
    assert missing_values(rows, ["a", "b"]).rows() == [(DAY, 4, 2)]


def test_only_lines_of_judged_products_are_a_basis_for_outliers() -> None:
    bands = pl.DataFrame({"stock_code": ["A", "A", "B", "B"], "is_judged": [True, True, False, False]})
    lines = pl.LazyFrame({"sale_date": [DAY] * 3 + [date(2011, 1, 11)], "stock_code": ["A", "A", "B", "A"]})
    found = outlier_values(lines, bands, pl.DataFrame({"sale_date": [DAY]}))
    assert sorted(found.rows()) == [(DAY, 4, 1), (date(2011, 1, 11), 2, 0)]


def test_unknown_members_are_misses() -> None:
    facts = pl.LazyFrame({"sale_date": [DAY] * 4, "product_key": [1, 2, None, -1]})
    lines = pl.LazyFrame({"sale_date": [DAY] * 4, "country": ["Unspecified", "Atlantis", None, "Channel Islands"]})
    spellings = nw.from_native(alias_keys(read_country_aliases()).lazy())
    unplaced = unplaced_lines(nw.from_native(lines), spellings).to_native()
    # What the shop itself writes as unspecified is known to be so; Atlantis and nothing are not.
    assert unrelated_values(facts, ["product_key"], unplaced).rows() == [(DAY, 8, 4)]
    assert unrelated_values(facts, ["product_key"], unplaced.head(0)).rows() == [(DAY, 8, 2)]


def test_a_day_is_as_late_as_half_of_its_rows() -> None:
    held = pl.DataFrame(
        {"sale_date": [DAY, DAY, DAY, None], "delivery_id": ["early", "first", "late", "late"], "rows": [1, 2, 2, 9]}
    )
    arrived = {"early": datetime(2011, 1, 10, 20, tzinfo=UTC), "first": datetime(2011, 1, 11, 6, tzinfo=UTC)}
    arrived["late"] = datetime(2011, 3, 1, tzinfo=UTC)
    deliveries = pl.DataFrame({"delivery_id": list(arrived), "delivered_at": list(arrived.values())})
    assert delivery_hours(held, deliveries).rows() == [(DAY, 6.0)]
    assert delivery_hours(held.head(1), deliveries).rows() == [(DAY, 0.0)]


def test_a_file_of_a_month_is_due_when_the_month_is_over_and_one_of_a_year_is_not_on_time() -> None:
    days = [date(2011, 1, 1), date(2011, 1, 31), date(2011, 2, 9)]
    deliveries = pl.DataFrame({"delivery_id": ["a"], "delivered_at": [datetime(2011, 2, 1, 4, tzinfo=UTC)]})
    held = pl.DataFrame({"sale_date": days, "delivery_id": ["a"] * 3, "rows": [1] * 3})
    assert delivery_hours(held.head(2), deliveries)["delivery_hours"].to_list() == [4.0, 4.0]
    later = deliveries.with_columns(delivered_at=datetime(2011, 2, 10, tzinfo=UTC))
    assert delivery_hours(held, later)["delivery_hours"].to_list() == [9 * 24.0, 0.0, 0.0]
    assert delivery_hours(held, later, 1)["delivery_hours"].to_list() == [39 * 24.0, 9 * 24.0, 0.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"validity": 1}}, "differ from the dimensions"),
        ({"weights": dict.fromkeys(DIMENSIONS, 0)}, "expected none below 0"),
        ({"thresholds": {"beauty": 1}}, r"\['beauty'\]"),
        ({"late_hours": 5}, "expected them to rise"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreRule(**wrong)

"""What is found about scores: which day is held back, by which rule, rows and file, and what to do."""

from datetime import date
from typing import Any

import polars as pl

from retail_platform.contracts import DAY_QUALITY, LINE_OUTLIERS, SILVER_REJECTS, SILVER_SALES
from retail_platform.transforms import score_findings as findings
from retail_platform.transforms.scores import COUNTS, DIMENSIONS, ScoreRule, scored
from retail_platform_tests.warehouse.gold_frames import shaped

DAY, OTHER = date(2011, 1, 4), date(2011, 1, 5)


def scores(*days: tuple[date, int, int]) -> pl.DataFrame:
    """Scores of days with so many checked and so many invalid rows; everything else is right."""
    rows: list[dict[str, Any]] = [
        dict.fromkeys(COUNTS, 0)
        | {"table_name": "silver.sales", "sale_date": day, "delivery_hours": 1.0, "required_values": 7 * checked}
        | {"checked_rows": checked, "invalid_rows": invalid, "identified_rows": checked, "related_values": checked}
        for day, checked, invalid in days
    ]
    return scored(pl.DataFrame(rows, schema=COUNTS))


def rejects(reason: str, rows: int, file: str = "a.csv", **values: str | None) -> pl.DataFrame:
    """Rejected rows of DAY."""
    row: dict[str, str | None] = {
        "invoice_no": "1",
        "stock_code": "10001",
        "description": "MUG",
        "quantity": "x",
        "unit_price": "1.00",
    }
    row |= {"invoice_date": "2011-01-04", "country": "France"} | values
    fixed = (pl.lit(value).alias(name) for name, value in row.items())
    numbered = pl.select(source_row=pl.int_range(1, rows + 1), sale_date=DAY)
    return shaped(SILVER_REJECTS, numbered.with_columns(*fixed, source_file=pl.lit(file), reason=pl.lit(reason)))


def faults(*rejected: pl.DataFrame, lines: pl.DataFrame | None = None, far: pl.DataFrame | None = None) -> pl.DataFrame:
    """What takes from the scores, by rule."""
    found = findings.faulty_rows(
        SILVER_SALES.empty() if lines is None else lines,
        pl.concat([SILVER_REJECTS.empty(), *rejected]),
        LINE_OUTLIERS.empty() if far is None else far,
        ["Atlantis"],
    )
    return findings.summed_up(found)


def test_a_day_below_the_threshold_says_rule_rows_file_and_what_to_do() -> None:
    # Validity 20 of 100 at a weight of 20 of 85 (accuracy has no basis): 100 - 80 x 20 / 85 = 81.2.
    held = findings.held_back(scores((DAY, 100, 80), (OTHER, 100, 0)), 50, [])
    assert held.select("sale_date", "total_score", "validity_score").rows() == [(DAY, *held.row(0)[8:9], 20)]
    assert round(float(held["total_score"].item()), 1) == 81.2
    found = findings.totals_reach_their_threshold(held, faults(rejects("invalid_quantity", 80)))
    assert not found.passed
    assert found.description.startswith(
        "1 days are held back: 2011-01-04 of silver.sales has 81.2, the total is below 85, validity is below its floor "
        "of 60 (validity 20.0 of 95: invalid_quantity, 80 rows of a.csv). Validity: A removed invoice (0): nothing."
    )
    assert "RETAIL_QUALITY_ACCEPTED_DAYS" in found.description
    assert found.evidence["faults"].row(0, named=True) == {
        "sale_date": DAY,
        "dimension": "validity",
        "rule": "invalid_quantity",
        "rows": 80,
        "files": "a.csv",
        "first_rows": "1, 2, 3",
        "example": "10001 x 1.00",
    }


def test_few_rows_accepted_days_and_a_lower_threshold_hold_nothing_back() -> None:
    bad = scores((DAY, 100, 80))
    assert findings.held_back(bad, 50, [OTHER])["sale_date"].to_list() == [DAY]
    assert findings.held_back(bad, 101, []).is_empty()
    assert findings.held_back(bad, 50, [DAY]).is_empty()
    assert findings.held_back(bad, 50, [], ScoreRule(thresholds={"total": 81}, floors={})).is_empty()
    assert findings.totals_reach_their_threshold(bad.head(0), faults()).passed


def test_a_day_without_an_accepted_line_or_a_total_is_held_back() -> None:
    held = findings.held_back(scores((DAY, 60, 60)).with_columns(identified_rows=pl.lit(0, pl.Int64)), 50, [])
    assert held["why"].item().startswith("no row is accepted")
    without = scores((DAY, 60, 0)).with_columns(total_score=pl.lit(None, pl.Decimal(9, 4)))
    found = findings.totals_reach_their_threshold(findings.held_back(without, 50, []), faults())
    assert "2011-01-04 of silver.sales has no total, too few scores for a total" in found.description


def test_a_dimension_far_down_holds_a_day_back_whose_total_is_good() -> None:
    prices = scores((DAY, 100, 0)).with_columns(
        accuracy_score=pl.lit("50").cast(pl.Decimal(9, 4)), judged_values=pl.lit(200, pl.Int64)
    )
    assert findings.held_back(prices, 50, [])["why"].to_list() == ["accuracy is below its floor of 60"]
    assert findings.held_back(prices.with_columns(judged_values=pl.lit(4, pl.Int64)), 50, []).is_empty()
    half = scores((DAY, 100, 50))
    assert float(half["total_score"].item()) > 85
    assert findings.held_back(half, 50, [])["why"].to_list() == ["validity is below its floor of 60"]
    assert findings.held_back(half, 50, [], ScoreRule(floors={"validity": 50})).is_empty()


def test_a_total_without_a_low_dimension_names_the_one_that_costs_most() -> None:
    day, rule = scores((DAY, 100, 4)), ScoreRule(thresholds={"total": 99.5, "validity": 95})
    found = findings.totals_reach_their_threshold(
        findings.held_back(day, 50, [], rule), faults(rejects("zero_price", 4)), rule
    )
    assert "validity 96.0 of 95: zero_price, 4 rows of a.csv" in found.description
    assert "Validity: Free goods and write-offs" in found.description


def test_every_rule_names_its_dimension_and_its_files() -> None:
    line = pl.DataFrame({"sale_date": [DAY], "source_file": ["b.csv"], "source_row": [7], "country": ["Atlantis"]})
    far: dict[str, list[Any]] = {
        "stock_code": ["10001"],
        "measure": ["unit_price"],
        "value": [99.0],
        "low": [1.0],
        "high": [2.004],
    }
    outlier = line.drop("country").with_columns(**{name: pl.Series(value) for name, value in far.items()})
    found = faults(
        rejects("missing_stock_code", 2, stock_code=" "),
        rejects("duplicate_line", 3),
        rejects("zero_price", 1, "c.csv"),
        *(rejects("zero_price", 1, file) for file in ("d.csv", "e.csv", "f.csv", "c.csv")),
        lines=shaped(SILVER_SALES, line),
        far=shaped(LINE_OUTLIERS, outlier),
    )
    assert found.select("dimension", "rule", "rows", "files", "example").rows() == [
        ("validity", "zero_price", 5, "c.csv, d.csv, e.csv and 1 more", "10001 x 1.00"),
        ("uniqueness", "duplicate_line", 3, "a.csv", "10001 x 1.00"),
        ("completeness", "stock_code is missing", 2, "a.csv", None),
        ("accuracy", "unit_price is far from usual", 1, "b.csv", "10001 99.0, usual 1.0 to 2.0"),
        ("completeness", "description is missing", 1, "b.csv", None),
        ("consistency", "country is unknown", 1, "b.csv", "Atlantis"),
    ]


def test_a_low_dimension_is_a_warning_with_its_rule() -> None:
    day = scores((DAY, 100, 6), (OTHER, 40, 30))
    assert day["warning_count"].to_list() == [1, 1]
    found = findings.dimensions_reach_their_thresholds(day, faults(rejects("invalid_price", 6)), 50)
    assert not found.passed
    assert found.description.startswith(
        "1 scores of 2 days are low: 2011-01-04 validity 94.0 of 95: invalid_price, 6 rows of a.csv. "
        "Validity: Another number format"
    )
    assert findings.dimensions_reach_their_thresholds(scores((DAY, 100, 5)), faults(), 50).passed


def test_a_day_scored_from_other_rows_than_it_has_is_found() -> None:
    counted = {"sale_date": [DAY], "delivered_rows": [110], "superseded_rows": [10], "accepted_rows": [100]}
    delivered = shaped(DAY_QUALITY, pl.DataFrame(counted))
    assert findings.every_day_is_scored(scores((DAY, 100, 0)), delivered).passed
    for wrong in (scores((DAY, 110, 0)), scores((DAY, 100, 0), (OTHER, 1, 0)), scores((OTHER, 100, 0))):
        assert not findings.every_day_is_scored(wrong, delivered).passed


def test_every_dimension_has_advice() -> None:
    assert set(findings.ADVICE) == set(DIMENSIONS)

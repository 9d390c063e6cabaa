"""Every check can fail, and says with what."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from retail_platform.contracts import BRONZE_DAYS
from retail_platform.lakehouse.days import Days
from retail_platform.transforms import quality

MONDAY, TUESDAY = date(2011, 1, 10), date(2011, 1, 11)


def days(*rows: date | None) -> pl.DataFrame:
    return pl.DataFrame({"sale_date": list(rows)}, schema={"sale_date": pl.Date})


def states(*rows: tuple[date | None, int]) -> pl.DataFrame:
    frame = pl.DataFrame(list(rows), schema={"sale_date": pl.Date, "rows": pl.Int64}, orient="row")
    month = pl.col("sale_date").dt.truncate("1mo")
    return frame.with_columns(sale_month=month, fingerprint=pl.lit("f")).select(list(BRONZE_DAYS.schema))


def versions(*rows: tuple[date, date | None, bool, int]) -> pl.DataFrame:
    schema = {"valid_from": pl.Date, "valid_to": pl.Date, "is_current": pl.Boolean, "version": pl.Int32}
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(stock_code=pl.lit("10002"))


def test_a_broken_contract_names_column_and_value() -> None:
    assert quality.contract_holds(BRONZE_DAYS, states((MONDAY, 1))).passed
    found = quality.contract_holds(BRONZE_DAYS, states((MONDAY, 0)))
    assert not found.passed
    assert found.evidence["failing"]["column"].to_list() == ["rows"]


def test_a_repeated_key_is_shown() -> None:
    assert quality.keys_are_unique(BRONZE_DAYS, states((MONDAY, 1), (None, 1))).passed
    found = quality.keys_are_unique(BRONZE_DAYS, states((MONDAY, 1), (MONDAY, 2)))
    assert not found.passed
    assert found.evidence["repeated"].rows() == [(MONDAY, 2)]


def test_a_lost_row_is_found_by_its_day() -> None:
    assert quality.rows_match_bronze(days(MONDAY, None), days(MONDAY), days(None)).passed
    found = quality.rows_match_bronze(days(MONDAY, TUESDAY), days(MONDAY), days())
    assert found.evidence["days_that_differ"]["sale_date"].to_list() == [TUESDAY]
    assert not quality.rows_match_bronze(days(), days(MONDAY), days()).passed


def test_rows_that_the_ledger_knows_and_bronze_does_not() -> None:
    assert quality.rows_match_ledger(states((MONDAY, 2), (None, 1)), days(MONDAY, MONDAY, None)).passed
    assert not quality.rows_match_ledger(states((MONDAY, 2)), days(MONDAY)).passed
    assert not quality.rows_match_ledger(states((MONDAY, 1)), days(MONDAY, TUESDAY)).passed


def test_a_published_day_that_only_the_lake_lost() -> None:
    assert quality.lake_holds_published_days({MONDAY}, {MONDAY, TUESDAY}, {MONDAY}).passed
    assert quality.lake_holds_published_days({MONDAY}, set(), set()).passed
    found = quality.lake_holds_published_days({MONDAY, TUESDAY}, {MONDAY, TUESDAY}, {TUESDAY})
    assert found.evidence["first_days"] == ["2011-01-10"]
    assert not found.passed


def test_a_day_without_rows() -> None:
    assert quality.every_day_has_rows(Days(MONDAY, TUESDAY), [MONDAY]).passed
    found = quality.every_day_has_rows(Days(MONDAY, date(2011, 1, 12)), [MONDAY])
    assert found.evidence["first_days"] == ["2011-01-11"]


def test_an_invoice_that_a_redelivery_emptied() -> None:
    rejects = pl.DataFrame({"invoice_no": [" 540001"], "sale_date": [MONDAY], "reason": ["superseded"]})
    lines = pl.DataFrame({"invoice_no": ["540001"], "sale_date": [MONDAY]})
    assert quality.redeliveries_empty_no_invoice(lines, rejects).passed
    assert not quality.redeliveries_empty_no_invoice(lines.clear(), rejects).passed


def test_an_invoice_on_two_days() -> None:
    invoices = pl.DataFrame({"invoice_no": ["1", "1"], "sale_date": [MONDAY, TUESDAY]})
    assert quality.invoices_stay_on_one_day(invoices.head(1)).passed
    assert not quality.invoices_stay_on_one_day(invoices).passed


def test_a_spelling_nobody_maps() -> None:
    assert quality.countries_are_known(pl.DataFrame({"country": []})).passed
    assert not quality.countries_are_known(pl.DataFrame({"country": ["Atlantis"]})).passed


def test_a_key_without_a_member() -> None:
    facts = pl.DataFrame({"product_key": [1, 2, None]}, schema={"product_key": pl.Int64})
    assert quality.no_orphan_keys(facts.head(1), {"product_key": pl.Series([1])}).passed
    assert quality.no_orphan_keys(facts, {"product_key": pl.Series([1])}).evidence == {"product_key": 2}


def test_versions_that_overlap_leave_a_hole_or_end() -> None:
    feb, mar = date(2011, 2, 1), date(2011, 3, 1)
    sound = [(MONDAY, feb, False, 1), (feb, None, True, 2)]
    assert quality.intervals_are_sound(versions(*sound), "stock_code").passed
    for broken in (
        [(MONDAY, mar, False, 1), (feb, None, True, 2)],
        [(MONDAY, feb, False, 1), (mar, None, True, 2)],
        [(MONDAY, feb, False, 1), (feb, mar, True, 2)],
        [(MONDAY, feb, True, 1), (feb, None, True, 2)],
        [(MONDAY, feb, False, 1), (feb, None, True, 3)],
    ):
        assert not quality.intervals_are_sound(versions(*broken), "stock_code").passed


def test_totals_to_the_last_decimal() -> None:
    assert quality.totals_match({"a": Decimal("1.0000"), "b": Decimal("1.0000")}).passed
    assert not quality.totals_match({"a": Decimal("1.0000"), "b": Decimal("1.0001")}).passed


def test_a_classifier_that_got_worse() -> None:
    good = {"labels": 400, "category_accuracy": 0.84, "precision": 0.94, "confusions": []}
    assert quality.set_aside_accuracy_holds(good, True).passed
    assert not quality.set_aside_accuracy_holds(good | {"category_accuracy": 0.83}, True).passed
    assert not quality.set_aside_accuracy_holds(good | {"precision": 0.93}, True).passed
    assert not quality.set_aside_accuracy_holds(good | {"precision": float("nan")}, True).passed
    assert "when the classifier was last trained" in quality.set_aside_accuracy_holds(good, False).description


@pytest.mark.parametrize(("unclassified", "passes"), [(5, True), (6, False), (-200, True)])
def test_revenue_without_a_category(unclassified: int, passes: bool) -> None:
    amounts = pl.Series([100 - unclassified, unclassified], dtype=pl.Decimal(18, 4))
    columns = {"description": ["MUG", "ODD"], "category": ["Dining", "unclassified"], "line_amount": amounts}
    found = quality.revenue_is_classified(pl.DataFrame(columns))
    assert found.passed is passes
    assert found.evidence["unclassified"]["description"].to_list() == ["ODD"]


def test_no_revenue_needs_no_category() -> None:
    nothing = pl.DataFrame(schema={"description": pl.String, "category": pl.String, "line_amount": pl.Decimal(18, 4)})
    assert quality.revenue_is_classified(nothing).passed

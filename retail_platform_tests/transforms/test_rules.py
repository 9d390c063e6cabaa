"""The declared rules: each has a row that breaks it, and a new entry works in every severity."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts import SILVER_REJECTS, SILVER_SALES
from retail_platform.contracts.rules import ACROSS_ROWS, RULES, Rule, Severity, rules_that
from retail_platform.contracts.silver import REJECT_REASONS
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.mapping import Mapping, load_mappings
from retail_platform.settings import Settings
from retail_platform.transforms.quality import Finding, contract_holds
from retail_platform.transforms.rules import FEWEST_ROWS, rules_hold
from retail_platform.transforms.sales import judge_sales, silver_rejects
from retail_platform_tests.transforms.test_sales import bronze

DOCS = Path(__file__).parents[2] / "docs"
NAMED = {rule.name: rule for rule in RULES}

BREAKING: dict[str, dict[str, Any]] = {
    "missing_invoice": {"invoice_no": " "},
    "missing_stock_code": {"stock_code": None},
    "invalid_quantity": {"quantity": "0"},
    "invalid_price": {"unit_price": "1,50"},
    "invalid_date": {"sale_date": None},
    "adjustment": {"unit_price": "-1"},
    "zero_price": {"unit_price": "0"},
    "test_line": {"stock_code": "TEST001"},
    "numbers_are_readable": {"unit_price": "1,50"},
    "descriptions_are_given": {"description": " "},
    "stock_codes_are_known": {"stock_code": "WHAT"},
    "cancellations_take_back": {"invoice_no": "C540001"},
    "prices_are_plausible": {"unit_price": "10000.0001"},
    "quantities_are_plausible": {"quantity": "-10001"},
}
"""A row that breaks each rule that a row can break by itself, but none before it: a new rule has its test here."""


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return load_mappings(Settings(mappings=None))["online_retail"]


def judged(rows: pl.DataFrame, mapping: Mapping, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """The rows judged; of two deliveries b#0 is the later one."""
    ranks = {"delivery_id": ["a#0", "b#0"], "file_sha256": ["a", "b"], "delivery_rank": [0, 1], "mapping": ["m", "m"]}
    frames = nw.from_native(rows.lazy()), nw.from_native(pl.LazyFrame(ranks))
    frame: pl.DataFrame = judge_sales(*frames, {"m": mapping}, rules).to_native().collect()
    return frame


def held(rule: Rule, rows: pl.DataFrame, mapping: Mapping) -> Finding:
    (finding,) = rules_hold(judged(rows, mapping), [rule])
    return finding


def test_the_order_of_judgement() -> None:
    designed = ["missing_invoice", "missing_stock_code", "invalid_quantity", "invalid_price", "invalid_date"]
    designed += ["adjustment", "zero_price", "test_line", "superseded", "duplicate_line"]
    assert [name for name in REJECT_REASONS if name in designed] == designed
    assert REJECT_REASONS[-2:] == tuple(rule.name for rule in ACROSS_ROWS)


def test_names_are_unique_and_every_rule_has_words() -> None:
    assert len(NAMED) == len(RULES)
    assert all(rule.columns and rule.broken_when and rule.advice.endswith(".") for rule in RULES)
    assert {rule.name for rule in RULES if rule.severity == "drop" and rule.tolerated_pct} == set()


def test_every_rule_has_a_row_that_breaks_it() -> None:
    assert BREAKING.keys() == {rule.name for rule in RULES if rule not in ACROSS_ROWS}


@pytest.mark.parametrize("name", [rule.name for rule in RULES if rule not in ACROSS_ROWS])
def test_a_row_that_breaks_a_rule(name: str, mapping: Mapping) -> None:
    rule = NAMED[name]
    rows = bronze(*[BREAKING[name]] * FEWEST_ROWS)
    found = judged(rows, mapping)
    if rule.severity == "drop":
        assert set(found["reason"]) == {name}
        return
    finding = held(rule, rows, mapping)
    assert not finding.passed
    assert finding.evidence["first_rows"].row(0, named=True)["source_row"] == 1
    assert set(rule.columns) <= set(finding.evidence["first_rows"].columns)
    assert "of a.csv" in finding.description
    assert rule.advice in finding.description


@pytest.mark.parametrize("rule", [*rules_that("warn"), *rules_that("fail")], ids=lambda rule: rule.name)
def test_good_rows_and_no_rows_break_nothing(rule: Rule, mapping: Mapping) -> None:
    assert held(rule, bronze(*[{}] * FEWEST_ROWS), mapping).passed
    assert held(rule, bronze({}).clear(), mapping).passed


def test_a_warning_is_about_lines_only(mapping: Mapping) -> None:
    rows = bronze({"description": None, "unit_price": "0"}, {"description": None}, {"description": None})
    finding = held(NAMED["descriptions_are_given"], rows, mapping)
    assert (finding.evidence["rows"], finding.evidence["share_pct"]) == (1, 100.0)
    assert finding.evidence["first_rows"].rows() == [(date(2011, 1, 4), "a.csv", None, 2, "85123A", None)]
    assert finding.evidence["files"].rows() == [("a.csv", 1)]


def test_what_is_shown_is_what_was_delivered(mapping: Mapping) -> None:
    finding = held(NAMED["prices_are_plausible"], bronze({"unit_price": " 020000.50 "}), mapping)
    assert finding.evidence["first_rows"]["unit_price"].to_list() == [" 020000.50 "]


@pytest.mark.parametrize(
    ("bad", "good", "holds"),
    [(10, 10, True), (11, 9, False), (20, 0, False), (19, 0, True), (0, 20, True)],
)
def test_a_day_stops_the_run_from_more_than_half_of_enough_rows(
    bad: int, good: int, holds: bool, mapping: Mapping
) -> None:
    rows = bronze(*[{"unit_price": "2,55"}] * bad, *[{"quantity": str(n + 1)} for n in range(good)])
    assert held(NAMED["numbers_are_readable"], rows, mapping).passed == holds


def test_a_day_that_cannot_be_read_is_mended_by_sending_it_again(mapping: Mapping) -> None:
    bad = [{"invoice_no": str(n), "unit_price": "2,55"} for n in range(60)]
    again = {"delivery_id": "b#0", "file_sha256": "b", "source_file": "b.csv"}
    mended = [{"invoice_no": str(n)} | again for n in range(30)]
    rule = NAMED["numbers_are_readable"]
    assert not held(rule, bronze(*bad), mapping).passed
    assert held(rule, bronze(*bad[:30], *mended), mapping).passed
    assert held(rule, bronze(*bad, *mended), mapping).evidence["rows"] == 30


def test_a_delivery_that_cannot_be_read_does_not_take_the_place_of_a_good_one(mapping: Mapping) -> None:
    again = {"delivery_id": "b#0", "file_sha256": "b", "source_file": "b.csv", "unit_price": "2,55"}
    good = [{"invoice_no": str(n)} for n in range(30)]
    finding = held(NAMED["numbers_are_readable"], bronze(*good, *(row | again for row in good)), mapping)
    assert not finding.passed
    assert finding.evidence["files"].rows() == [("b.csv", 30)]


def test_rows_without_a_day_stop_no_run(mapping: Mapping) -> None:
    rows = bronze(*[{"unit_price": "2,55", "sale_date": None}] * FEWEST_ROWS)
    assert held(NAMED["numbers_are_readable"], rows, mapping).passed


@pytest.mark.parametrize("severity", ["warn", "drop", "fail"])
def test_a_new_entry_works_in_every_severity(severity: Severity, mapping: Mapping) -> None:
    new = replace(example_of_the_page(), severity=severity)
    rows = bronze({}, {"country": "Unspecified"}, {"country": None, "unit_price": "0"}, {"country": None})
    found = judged(rows, mapping, (*RULES, new)).sort("source_row")
    dropped = new.name if severity == "drop" else None
    assert found["reason"].to_list() == [None, dropped, "zero_price", dropped]
    if severity != "drop":
        (finding,) = rules_hold(found, [new])
        assert (finding.name, finding.passed) == ("countries_are_given", False)
        assert finding.evidence["rows"] == (2 if severity == "warn" else 3)


def example_of_the_page() -> Rule:
    """The entry that docs/quality.md gives as an example."""
    _, _, section = (DOCS / "quality.md").read_text().partition("## How to add a rule")
    (entry,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    rule: Rule = eval(entry, {"Rule": Rule, "nw": nw})
    return rule


def test_the_contract_of_rejects_knows_every_rule_that_drops(mapping: Mapping) -> None:
    rejects = silver_rejects(nw.from_native(judged(bronze({"unit_price": "0"}), mapping).lazy())).to_native().collect()
    named = pl.concat([rejects.with_columns(reason=pl.lit(rule.name)) for rule in rules_that("drop")])
    assert contract_holds(SILVER_REJECTS, named).passed
    assert not contract_holds(SILVER_REJECTS, rejects.with_columns(reason=pl.lit("prices_are_plausible"))).passed


@pytest.mark.parametrize(
    ("page", "severity"), [("how-it-works.md", "drop"), ("quality.md", "fail"), ("quality.md", "warn")]
)
def test_the_pages_show_the_rules(page: str, severity: Severity) -> None:
    expected = table(rules_that(severity))
    assert f"\n{expected}\n" in (DOCS / page).read_text(), f"docs/{page} should hold this table:\n\n{expected}"


def table(rules: Sequence[Rule]) -> str:
    """Rules as the pages show them."""
    rows = (f"| `{rule.name}` | {rule.broken_when} | {rule.advice} |\n" for rule in rules)
    return "".join(["| Rule | A row breaks it when | What to do |\n", "| --- | --- | --- |\n", *rows])


@pytest.mark.real
@pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder")
def test_warnings_count_what_sql_counts_on_the_raw_file(
    real_platform: Settings, raw_lines: duckdb.DuckDBPyConnection
) -> None:
    lines = Lake(real_platform.lake).scan(SILVER_SALES).collect()
    judged_lines = lines.with_columns(reason=pl.lit(None, pl.String), is_restated=pl.lit(False))
    found = {finding.name: finding.evidence["rows"] for finding in rules_hold(judged_lines, rules_that("warn"))}
    counts = raw_lines.sql(
        """
        select count(*) filter (where coalesce(description, '') = '') as descriptions_are_given,
            count(*) filter (where invoice like 'C%' and quantity > 0) as cancellations_take_back,
            count(*) filter (where price > 10000) as prices_are_plausible,
            count(*) filter (where quantity not between -10000 and 10000) as quantities_are_plausible
        from lines
        """
    )
    (row,) = counts.fetchall()
    expected = dict(zip(counts.columns, row, strict=True)) | {"stock_codes_are_known": 0}
    assert found == expected
    assert expected["prices_are_plausible"] == 22
    assert expected["quantities_are_plausible"] == 9

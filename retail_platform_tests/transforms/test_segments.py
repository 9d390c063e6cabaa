from collections.abc import Iterable
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from retail_platform.contracts.gold import CUSTOMER_VALUE_SEGMENTS, SEGMENTS
from retail_platform.transforms.segments import RULES, VALUE_TIERS, rfm_segment, segment_of, value_tier
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.frames import rows_of

SCORES = list(product(range(1, 6), repeat=3))
PAGE = Path(__file__).parents[2] / "docs" / "segments.md"


def test_every_segment_is_reached_by_scores() -> None:
    assert {segment_of(*scores) for scores in SCORES} == set(SEGMENTS)


@pytest.mark.parametrize(
    ("scores", "segment"),
    [
        ((5, 5, 5), "Champions"),
        ((4, 4, 4), "Champions"),
        ((3, 5, 5), "Loyal Customers"),
        ((5, 3, 1), "Loyal Customers"),
        ((3, 2, 4), "Big Spenders"),
        ((5, 1, 5), "Big Spenders"),
        ((5, 1, 3), "New Customers"),
        ((4, 2, 3), "Others"),
        ((3, 1, 1), "Others"),
        ((2, 4, 4), "Cannot Lose Them"),
        ((2, 4, 3), "At Risk"),
        ((1, 1, 4), "At Risk"),
        ((1, 2, 3), "Others"),
    ],
)
def test_segment_of_scores(scores: tuple[int, int, int], segment: str) -> None:
    assert segment_of(*scores) == segment


def test_engines_judge_as_the_function_does(engine: Engine) -> None:
    columns = ["recency_score", "frequency_score", "monetary_score"]
    frame = pl.DataFrame(SCORES, schema=dict.fromkeys(columns, pl.Int16), orient="row")
    judged = engine(frame).with_columns(rfm_segment().alias("segment"))

    assert rows_of(judged, [*columns, "segment"]) == [(*scores, segment_of(*scores)) for scores in SCORES]


def test_value_tiers(engine: Engine) -> None:
    frame = pl.DataFrame({"monetary_score": [1, 2, 3, 4, 5, None]}, schema={"monetary_score": pl.Int16})
    found = rows_of(engine(frame).with_columns(value_tier().alias("tier")), ["monetary_score", "tier"])

    assert found == [*sorted(VALUE_TIERS.items()), (None, "Inactive")]
    assert set(VALUE_TIERS.values()) < set(CUSTOMER_VALUE_SEGMENTS)


def test_the_page_shows_the_rules() -> None:
    assert rules_table() in PAGE.read_text(), f"docs/segments.md should hold this table:\n\n{rules_table()}"


def test_the_page_shows_the_segment_of_all_scores() -> None:
    assert scores_table() in PAGE.read_text(), f"docs/segments.md should hold this table:\n\n{scores_table()}"


def rules_table() -> str:
    """The rules as the page shows them."""
    rows = (
        (str(n), rule.segment, *("any" if limits == (1, 5) else interval(*limits) for limits in rule[1:]))
        for n, rule in enumerate(RULES, start=1)
    )
    return table(("Rule", "Segment", "Recency", "Frequency", "Monetary"), rows)


def scores_table() -> str:
    """The segment of each of the 125 combinations: a row for recency and frequency, a column for monetary."""
    header = ("Recency", "Frequency", *(f"Monetary {m}" for m in range(1, 6)))
    rows = (
        (str(r), str(f), *(segment_of(r, f, m) for m in range(1, 6)))
        for r, f in product(range(5, 0, -1), range(5, 0, -1))
    )
    return table(header, rows)


def interval(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

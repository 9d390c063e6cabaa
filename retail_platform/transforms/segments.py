"""The rule that turns three scores into an RFM segment, and a monetary score into a value tier.

How customers are scored, and when, stays out (`customers.py`). docs/segments.md shows the rule as a table; a test
keeps the two equal.
"""

from functools import reduce
from typing import NamedTuple

import narwhals as nw

NOT_SCORED = "Others"
"""Segment of a customer without an uncancelled invoice in the twelve months."""
NOT_JUDGED = "New Customers"
"""Segment of a customer before the first close."""


class Rule(NamedTuple):
    """A segment and the scores that belong to it: lowest and highest of each, 5 is best."""

    segment: str
    recency: tuple[int, int] = (1, 5)
    frequency: tuple[int, int] = (1, 5)
    monetary: tuple[int, int] = (1, 5)


RULES = (
    Rule("Champions", recency=(4, 5), frequency=(4, 5), monetary=(4, 5)),
    Rule("Cannot Lose Them", recency=(1, 2), frequency=(4, 5), monetary=(4, 5)),
    Rule("At Risk", recency=(1, 2), frequency=(3, 5)),
    Rule("At Risk", recency=(1, 2), monetary=(4, 5)),
    Rule("Loyal Customers", recency=(3, 5), frequency=(3, 5)),
    Rule("Big Spenders", recency=(3, 5), monetary=(4, 5)),
    Rule("New Customers", recency=(4, 5), frequency=(1, 1)),
    Rule("Others"),
)
"""In the order of judgement: the first that holds is the customer's segment; the last holds always."""

VALUE_TIERS = {5: "High Value", 4: "Mid Value", 3: "Mid Value", 2: "Low Value", 1: "Low Value"}
"""Monetary score -> `dim_customer.customer_segment`."""


def segment_of(recency: int, frequency: int, monetary: int) -> str:
    """The segment of three scores.

    Args:
        recency: 1 (long ago) to 5 (just now).
        frequency: 1 (seldom) to 5 (often).
        monetary: 1 (little) to 5 (much).
    """
    scores = (recency, frequency, monetary)
    return next(
        rule.segment
        for rule in RULES
        if all(low <= score <= high for score, (low, high) in zip(scores, rule[1:], strict=True))
    )


def rfm_segment() -> nw.Expr:
    """The segment of the columns recency_score, frequency_score and monetary_score, none of them null."""
    *rules, last = RULES
    return reduce(lambda otherwise, rule: _when(rule, otherwise), reversed(rules), nw.lit(last.segment))


def value_tier() -> nw.Expr:
    """The value tier of the column monetary_score; `Inactive` where it is null."""
    score = nw.col("monetary_score")
    inactive: nw.Expr = nw.lit("Inactive")
    return reduce(
        lambda otherwise, tier: nw.when(score == tier[0]).then(nw.lit(tier[1])).otherwise(otherwise),
        VALUE_TIERS.items(),
        inactive,
    )


def _when(rule: Rule, otherwise: nw.Expr) -> nw.Expr:
    columns = ("recency_score", "frequency_score", "monetary_score")
    holds = nw.all_horizontal(
        *(nw.col(column).is_between(*limits) for column, limits in zip(columns, rule[1:], strict=True)),
        ignore_nulls=False,
    )
    return nw.when(holds).then(nw.lit(rule.segment)).otherwise(otherwise)

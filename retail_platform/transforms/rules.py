"""Whether the declared rules of sale lines that drop no row hold: a finding for each, with the rows that break it.

The rules are declared in `contracts/rules.py`; those that drop rows are applied in `sales.py`.
"""

from collections.abc import Sequence

import narwhals as nw
import polars as pl

from retail_platform.contracts.rules import Rule
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

FEWEST_ROWS = 20
"""Of fewer rows a day, the share that a rule tolerates says nothing."""
IN_FILE_ORDER = ("sale_date", "source_file", "source_sheet", "source_row")


def rules_hold(judged: pl.DataFrame, rules: Sequence[Rule]) -> list[Finding]:
    """Whether each rule holds on every day.

    Args:
        judged: the rows of whole days, as `judge_sales` gives them; those without a day are left out.
        rules: rules that warn (judged on the accepted lines) or fail (on every row that is not restated).

    Returns:
        A finding for each rule, under its name and in the order given.
    """
    dated = nw.from_native(judged.lazy()).filter(~nw.col("sale_date").is_null())
    marked = dated.with_columns(*(_is_broken(rule).alias(rule.name) for rule in rules)).to_native()
    days = marked.group_by("sale_date").agg(
        pl.col(rule.name for rule in rules).sum().cast(pl.Int64),
        warn=pl.col("reason").is_null().sum().cast(pl.Int64),
        fail=pl.col("is_restated").not_().sum().cast(pl.Int64),
    )
    counted = days.collect()
    return [_finding(rule, counted, marked) for rule in rules]


def _is_broken(rule: Rule) -> nw.Expr:
    """Whether a row is one that the rule judges, and breaks it."""
    is_judged = ~nw.col("is_restated") if rule.severity == "fail" else nw.col("reason").is_null()
    return is_judged & ~rule.expected.fill_null(False)


def _finding(rule: Rule, days: pl.DataFrame, marked: pl.LazyFrame) -> Finding:
    """What the days of a rule say: how many rows are judged (a column for each severity) and how many break it."""
    broken, judged = pl.col(rule.name), pl.col(rule.severity)
    is_enough = judged >= (FEWEST_ROWS if rule.tolerated_pct else 1)
    beyond = days.filter(is_enough & (100 * broken > rule.tolerated_pct * judged))
    rows, of = int(days[rule.name].sum()), int(days[rule.severity].sum())
    evidence = {"rows": rows, "share_pct": round(100 * rows / max(of, 1), 4), "advice": rule.advice}
    if beyond.is_empty():
        return Finding(rule.name, True, f"{rows:,} of {of:,} rows break it, on no day too many.", evidence)
    guilty = marked.filter(broken & pl.col("sale_date").is_in(beyond["sale_date"].implode()))
    first = _first_rows(rule, guilty)
    return Finding(
        rule.name,
        False,
        f"{beyond[rule.name].sum():,} of {of:,} rows, on {beyond.height} days: {rule.broken_when}. "
        f"The first is row {first['source_row'][0]} of {first['source_file'][0]}. {rule.advice}",
        evidence | {"first_rows": first, "files": _by_file(guilty)},
    )


def _first_rows(rule: Rule, guilty: pl.LazyFrame) -> pl.DataFrame:
    """The first rows that break a rule, with what it looks at as it was delivered."""
    known = guilty.collect_schema().names()
    looked_at = (pl.col(f"raw_{name}" if f"raw_{name}" in known else name).alias(name) for name in rule.columns)
    in_order = guilty.sort(IN_FILE_ORDER).select(*IN_FILE_ORDER, *looked_at)
    return in_order.head(EVIDENCE_ROWS).collect()


def _by_file(guilty: pl.LazyFrame) -> pl.DataFrame:
    counted = guilty.group_by("source_file").agg(rows=pl.len())
    return counted.sort(["rows", "source_file"], descending=[True, False]).head(EVIDENCE_ROWS).collect()

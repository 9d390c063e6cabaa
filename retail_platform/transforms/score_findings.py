"""What is found about scores: the days that are held back, the scores that are low, and the rows behind them.

How scores are computed stays out (`scores.py`). The pages of advice here and in docs/quality.md say the same.
"""

from collections.abc import Collection
from datetime import date

import polars as pl

from retail_platform.contracts.rules import RULES
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding
from retail_platform.transforms.scores import (
    DIMENSIONS,
    FAULTS,
    INVALID_REASONS,
    MAY_LACK,
    REQUIRED,
    ScoreRule,
    low_scores,
)

ADVICE = {
    "completeness": "look at the delivery's profile: add a renamed column to the mapping, or ask for the file again.",
    "accuracy": "look at gold.line_outliers: have a price in another currency corrected; large orders are right.",
    "consistency": "add the spelling to country_aliases.csv; run gold again if a dimension is older than the facts.",
    "timeliness": "ask the sender why the file came so late.",
    "uniqueness": "a part came twice in one file; for a till that writes one row a scan set repeats = 'keep'.",
    "validity": "look at silver.rejects: add a new number format to the mapping; write-offs and free goods are right.",
}
"""What to do about a low score."""
FAULTY = pl.Schema(
    {
        "sale_date": pl.Date(),
        "dimension": pl.String(),
        "rule": pl.String(),
        "source_file": pl.String(),
        "source_row": pl.Int64(),
        "value": pl.String(),
    }
)
"""A row that takes from a score, and the rule it breaks."""
FIRST_FILES, FIRST_ROWS, DAYS_TOLD = 3, 3, 5


def held_back(
    scores: pl.DataFrame, minimum_rows: int, accepted: Collection[date], rule: ScoreRule | None = None
) -> pl.DataFrame:
    """The days whose total, or the score of a dimension with a floor, is too low to publish them; or that have none.

    Args:
        scores: all scores (contract `QualityScores`).
        minimum_rows: a day with fewer rows holds nothing back.
        accepted: days that are published whatever their total.
        rule: thresholds and floors.

    Returns:
        Rows of scores, newest day first, and `why`: each reason in words.
    """
    rule = rule or ScoreRule()
    threshold, total = rule.thresholds.get("total", 0), pl.col("total_score").cast(pl.Float64)
    reasons = [
        pl.when(_accepted_rows() == 0).then(pl.lit("no row is accepted")),
        pl.when(total.is_null()).then(pl.lit("too few scores for a total")),
        pl.when(total < threshold).then(pl.lit(f"the total is below {threshold:g}")),
        *(_below_floor(name, floor, minimum_rows) for name, floor in rule.floors.items()),
    ]
    said = scores.with_columns(why=pl.concat_str(reasons, separator=", ", ignore_nulls=True))
    is_held = (pl.col("why") != "") & (pl.col("checked_rows") >= minimum_rows)
    return said.filter(is_held, ~pl.col("sale_date").is_in(list(accepted))).sort("sale_date", descending=True)


def faulty_rows(
    lines: pl.DataFrame, rejects: pl.DataFrame, outliers: pl.DataFrame, unknown_countries: Collection[str]
) -> pl.DataFrame:
    """The rows of some days that take from their scores.

    Args:
        lines: accepted lines of these days (contract `SilverSales`).
        rejects: the rejected rows of these days that count (contract `SilverRejects`).
        outliers: their lines far from usual (contract `LineOutliers`).
        unknown_countries: spellings that lead to no known country.

    Returns:
        One row per row and rule it breaks, schema `FAULTY`.
    """
    is_unknown = pl.col("country").is_null() | pl.col("country").is_in(list(unknown_countries))
    sold = pl.concat_str("stock_code", "quantity", "unit_price", separator=" ", ignore_nulls=True)
    usual = pl.format("{} {}, usual {} to {}", "stock_code", *(pl.col(n).round(2) for n in ("value", "low", "high")))
    return pl.concat(
        [
            *(
                _faulty(rejects.filter(_is_blank(name)), "completeness", pl.lit(f"{name} is missing"))
                for name in REQUIRED
            ),
            *(
                _faulty(lines.filter(_is_blank(name)), "completeness", pl.lit(f"{name} is missing"))
                for name in MAY_LACK
            ),
            _faulty(outliers, "accuracy", pl.format("{} is far from usual", "measure"), usual),
            _faulty(lines.filter(is_unknown), "consistency", pl.lit("country is unknown"), pl.col("country")),
            _faulty(rejects.filter(pl.col("reason") == "duplicate_line"), "uniqueness", pl.col("reason"), sold),
            _faulty(rejects.filter(pl.col("reason").is_in(INVALID_REASONS)), "validity", pl.col("reason"), sold),
        ]
    )


def summed_up(faulty: pl.DataFrame) -> pl.DataFrame:
    """The faulty rows by day and rule.

    Args:
        faulty: schema `FAULTY`.

    Returns:
        sale_date, dimension, rule, rows, files, first_rows (their numbers in the first file) and example; newest day
        first, then most rows.
    """
    files = pl.col("source_file").unique().sort()
    more = pl.when(files.len() > FIRST_FILES).then(pl.format(" and {} more", files.len() - FIRST_FILES))
    in_first = pl.col("source_row").filter(pl.col("source_file") == pl.col("source_file").min()).sort()
    by_rule = faulty.group_by("sale_date", "dimension", "rule").agg(
        rows=pl.len(),
        files=files.head(FIRST_FILES).str.join(", ") + more.fill_null(""),
        first_rows=in_first.head(FIRST_ROWS).cast(pl.String).str.join(", "),
        example=pl.col("value").sort_by("source_file", "source_row").first(),
    )
    return by_rule.sort("sale_date", "rows", "dimension", "rule", descending=[True, True, False, False])


def totals_reach_their_threshold(held: pl.DataFrame, faults: pl.DataFrame, rule: ScoreRule | None = None) -> Finding:
    """Whether the total score of every day is good enough to publish it; what is below is held back until corrected.

    Args:
        held: the days held back, rows of `held_back`.
        faults: what takes from their scores, rows of `summed_up`.
        rule: thresholds.
    """
    rule = rule or ScoreRule()
    threshold = rule.thresholds.get("total", 0)
    if held.is_empty():
        return Finding("totals_reach_their_threshold", True, f"No day is below a total of {threshold:g} or a floor.")
    low = low_scores(held, rule).filter(pl.col("dimension") != "total")
    low = pl.concat([low, _costliest(held.join(low, on="sale_date", how="anti"), rule).cast(low.schema)])
    told = [_told(day, low, faults) for day in held.head(DAYS_TOLD).iter_rows(named=True)]
    return Finding(
        "totals_reach_their_threshold",
        False,
        f"{held.height} days are held back: {'; '.join(told)}. {_advice(low, faults)}"
        "Nothing is published until a corrected file is delivered, or RETAIL_QUALITY_ACCEPTED_DAYS names the day, or "
        "RETAIL_QUALITY_THRESHOLDS or RETAIL_QUALITY_FLOORS is lowered; after a change of settings run any day again.",
        {"days": held.select("table_name", "sale_date", "why", "total_score", *_score_names()).head(EVIDENCE_ROWS)}
        | {"faults": faults.head(EVIDENCE_ROWS)},
    )


def dimensions_reach_their_thresholds(
    scores: pl.DataFrame, faults: pl.DataFrame, minimum_rows: int, rule: ScoreRule | None = None
) -> Finding:
    """Whether each score of the days that are new or changed is good; one that is low is a reason to look.

    Args:
        scores: these days (contract `QualityScores`).
        faults: what takes from the newest of them that are low, rows of `summed_up`.
        minimum_rows: a day with fewer rows is not judged.
        rule: thresholds.
    """
    low = low_dimensions(scores, minimum_rows, rule)
    listed = low.head(EVIDENCE_ROWS).join(
        faults.group_by("sale_date", "dimension", maintain_order=True).agg(
            pl.exclude("sale_date", "dimension").first()
        ),
        on=["sale_date", "dimension"],
        how="left",
        maintain_order="left",
    )
    told = [_told_score(row) for row in listed.head(DAYS_TOLD).iter_rows(named=True)]
    return Finding(
        "dimensions_reach_their_thresholds",
        low.is_empty(),
        f"{low.height} scores of {scores.height} days are low"
        + (f": {'; '.join(told)}. " if told else ".")
        + _advice(listed, faults),
        {"low": listed},
    )


def low_dimensions(scores: pl.DataFrame, minimum_rows: int, rule: ScoreRule | None = None) -> pl.DataFrame:
    """The low scores of dimensions on days with enough rows, as `low_scores`."""
    judged = scores.filter(pl.col("checked_rows") >= minimum_rows)
    return low_scores(judged, rule).filter(pl.col("dimension") != "total")


def every_day_is_scored(scores: pl.DataFrame, day_quality: pl.DataFrame) -> Finding:
    """Whether exactly the days with a delivered row are scored, each from as many rows as were delivered.

    Args:
        scores: all scores (contract `QualityScores`).
        day_quality: all days (contract `DayQuality`).
    """
    names = ("sale_date", "delivered_rows", "superseded_rows", "accepted_rows")
    scored = scores.select("sale_date", "checked_rows", accepted=_accepted_rows())
    compared = scored.join(day_quality.select(names), on="sale_date", how="full", coalesce=True)
    most = pl.col("delivered_rows") - pl.col("superseded_rows")
    is_right = pl.col("checked_rows").is_between("accepted_rows", most) & (
        pl.col("accepted") == pl.col("accepted_rows")
    )
    wrong = compared.filter(~is_right.fill_null(False)).sort("sale_date")
    return Finding(
        "every_day_is_scored",
        wrong.is_empty(),
        f"{wrong.height} of {day_quality.height} days are scored from another number of rows than they have; expected "
        "none: run these days again.",
        {"days_that_differ": wrong.head(EVIDENCE_ROWS)},
    )


def _faulty(rows: pl.DataFrame, dimension: str, rule: pl.Expr, value: pl.Expr | None = None) -> pl.DataFrame:
    shown = pl.lit(None, dtype=pl.String) if value is None else value
    return rows.select(
        "sale_date",
        pl.lit(dimension).alias("dimension"),
        rule.alias("rule"),
        "source_file",
        "source_row",
        shown.alias("value"),
    ).cast(FAULTY)


def _accepted_rows() -> pl.Expr:
    return pl.col("identified_rows") - pl.col("duplicate_rows")


def _below_floor(name: str, floor: float, minimum_rows: int) -> pl.Expr:
    """In words that a score is below its floor, if it has a basis of as many values or rows as a day needs rows."""
    is_below = (pl.col(f"{name}_score").cast(pl.Float64) < floor) & (pl.col(FAULTS[name][1]) >= minimum_rows)
    return pl.when(is_below).then(pl.lit(f"{name} is below its floor of {floor:g}"))


def _is_blank(name: str) -> pl.Expr:
    return pl.col(name).fill_null("").str.strip_chars() == ""


def _score_names() -> list[str]:
    return [f"{name}_score" for name in DIMENSIONS]


def _told(day: dict[str, object], low: pl.DataFrame, faults: pl.DataFrame) -> str:
    """A day with its total, its low scores and the rule behind most faulty rows of each."""
    is_day = pl.col("sale_date") == day["sale_date"]
    first = faults.filter(is_day).unique("dimension", keep="first", maintain_order=True)
    listed = low.filter(is_day).join(first.drop("sale_date"), on="dimension", how="left", maintain_order="left")
    scores = ", ".join(_told_score(row, with_day=False) for row in listed.iter_rows(named=True))
    total = "no total" if day["total_score"] is None else f"{day['total_score']:.1f}"
    return f"{day['sale_date']} of {day['table_name']} has {total}, {day['why']} ({scores})"


def _told_score(row: dict[str, object], with_day: bool = True) -> str:
    day = f"{row['sale_date']} " if with_day else ""
    rule = f": {row['rule']}, {row['rows']} rows of {row['files']}" if row.get("rule") else ""
    return f"{day}{row['dimension']} {row['score']:.1f} of {row['threshold']:g}{rule}"


def _costliest(days: pl.DataFrame, rule: ScoreRule) -> pl.DataFrame:
    """Of days without a low dimension, the one that takes most from the total, as a row of `low_scores`."""
    found = []
    for day in days.iter_rows(named=True):
        known = [name for name in DIMENSIONS if day[f"{name}_score"] is not None]
        for name in sorted(known, key=lambda name: rule.weights[name] * (float(day[f"{name}_score"]) - 100))[:1]:
            score, threshold = float(day[f"{name}_score"]), rule.thresholds.get(name, 0.0)
            found.append((day["table_name"], day["sale_date"], name, score, threshold))
    columns = {"table_name": pl.String, "sale_date": pl.Date, "dimension": pl.String}
    return pl.DataFrame(found, columns | {"score": pl.Float64, "threshold": pl.Float64}, orient="row")


def _advice(low: pl.DataFrame, faults: pl.DataFrame) -> str:
    """What to do about each dimension: what the rule that most rows break says, or else what the dimension does."""
    of_rules = {rule.name: rule.advice for rule in RULES}
    found = faults.filter(pl.col("sale_date").is_in(low["sale_date"].to_list()))
    first = dict(found.unique("dimension", keep="first", maintain_order=True).select("dimension", "rule").iter_rows())
    names = [name for name in DIMENSIONS if name in set(low["dimension"])]
    return "".join(f"{name.capitalize()}: {of_rules.get(first.get(name, ''), ADVICE[name])} " for name in names)

"""What must hold of a table before it is written: pure checks on frames, each with its evidence.

A check here answers with a `Finding`; `defs/` turns it into an asset check. Thresholds and scores over time stay out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
from pandera.errors import SchemaErrors

from retail_platform.contracts import Table
from retail_platform.lakehouse.days import Days
from retail_platform.transforms.categories import UNCLASSIFIED
from retail_platform.transforms.customer_value import FEWEST_REPEATERS

EVIDENCE_ROWS = 20
HOLDOUT_ORDERS_TOLERANCE, HOLDOUT_VALUE_TOLERANCE = 0.15, 0.25
"""Of the orders and the amount that came: by so much may those foretold differ in total."""
HOLDOUT_CHURN_TOLERANCE = 0.10
"""Of all customers: by so much may the mean churn probability differ from the share without an order."""
LEAST_HOLDOUT_AUC = 0.65
"""Of pairs of a customer without and one with an order, in which the first has the higher churn probability."""
RECOUNTED_PAIRS = 20

RECOUNT = """
select p.stock_code, p.other_stock_code, p.pair_count, count(i.sale_date) as recounted
from pairs p left join (
    select a.stock_code, b.stock_code as other_stock_code, a.sale_date
    from baskets a join baskets b using (invoice_no, sale_date)
) i using (stock_code, other_stock_code)
group by all having recounted <> p.pair_count order by all
"""

LEAST_ACCURACY, LEAST_PRECISION = 0.84, 0.94
"""Right of the categories of labels set aside: of all, and of the published (0.886, 0.975: docs/categories.md)."""
LEAST_REVENUE_CLASSIFIED_PCT = 95
"""Percent of product revenue; 98.2 in the public data (docs/categories.md)."""


@dataclass(frozen=True)
class Finding:
    """The answer of one check.

    Attributes:
        name: a sentence that is true when the check passed.
        passed: whether it did.
        description: what was found against what was expected, and what to do.
        evidence: figures and first failing rows, for people.
    """

    name: str
    passed: bool
    description: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def merged(findings: Sequence[Finding]) -> Finding:
    """The findings of one check in several windows of days as one: it passed when it did in each.

    Args:
        findings: at least one, all under the same name.

    Returns:
        The words of the first that did not pass, or else of the last; of tables in the evidence the first rows of all.
    """
    if len(findings) == 1:
        return findings[0]
    failed = [finding for finding in findings if not finding.passed]
    told = [*failed, findings[-1]][0]
    where = f"in {len(failed)} of {len(findings)} windows of days; in the first" if failed else "in the last"
    evidence = {
        name: _first_rows([each.evidence[name] for each in failed or findings])
        if isinstance(value, pl.DataFrame)
        else value
        for name, value in told.evidence.items()
    }
    return Finding(told.name, not failed, f"Looked at {where}: {told.description}", evidence)


def _first_rows(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed").head(EVIDENCE_ROWS)


def contract_holds(table: Table, frame: pl.DataFrame) -> Finding:
    """Whether the frame has the table's columns, types and values."""
    try:
        table.contract.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.select("column", "check", "failure_case")
        counted = cases.group_by("column", "check").agg(rows=pl.len(), first=pl.col("failure_case").first())
        return Finding(
            "contract_holds",
            False,
            f"{table}: {cases.height} values break the contract {table.contract.__name__}; "
            "mend the rule that lets them through, or the contract.",
            {"failing": counted.sort("rows", descending=True).head(EVIDENCE_ROWS)},
        )
    return Finding("contract_holds", True, f"{frame.height} rows follow {table.contract.__name__}.")


def keys_are_unique(table: Table, frame: pl.DataFrame) -> Finding:
    """Whether the columns of the table's key identify a row; a surrogate key's collision shows here."""
    # Distinct hashes prove distinct keys in a fifth of the time; only otherwise the keys themselves are counted.
    is_unique = frame.select(table.key).hash_rows().n_unique() == frame.height
    counted = frame.head(0 if is_unique else frame.height).group_by(table.key).len("rows")
    repeated = counted.filter(pl.col("rows") > 1)
    return Finding(
        "keys_are_unique",
        repeated.is_empty(),
        f"{table}: {repeated.height} values of ({', '.join(table.key)}) occur more than once; expected none.",
        {"repeated": repeated.head(EVIDENCE_ROWS)},
    )


def rows_match_bronze(bronze: pl.DataFrame, lines: pl.DataFrame, rejects: pl.DataFrame) -> Finding:
    """Whether every delivered row is a line or a reject, per day.

    Args:
        bronze: the delivered rows (sale_date, null for rows without a day).
        lines: the accepted lines (sale_date).
        rejects: the rejected rows (sale_date).
    """
    counts = _per_day(bronze, "bronze")
    for name, frame in (("silver", lines), ("rejects", rejects)):
        counts = counts.join(_per_day(frame, name), on="sale_date", how="full", coalesce=True, nulls_equal=True)
    counts = counts.with_columns(pl.exclude("sale_date").fill_null(0))
    wrong = counts.filter(pl.col("bronze") != pl.col("silver") + pl.col("rejects")).sort("sale_date")
    return Finding(
        "rows_match_bronze",
        wrong.is_empty(),
        f"{bronze.height} delivered rows, {lines.height} lines, {rejects.height} rejects; {wrong.height} days differ.",
        {"days_that_differ": wrong.head(EVIDENCE_ROWS)},
    )


def counts_match_silver(quality: pl.DataFrame, lines: pl.DataFrame, rejects: pl.DataFrame) -> Finding:
    """Whether the counts of each day are those of silver, and add up: delivered = accepted + rejected = all reasons.

    Args:
        quality: the counted days (contract `DayQuality`).
        lines: the accepted lines of those days (sale_date).
        rejects: the rejected rows of those days (sale_date, reason).
    """
    parts = ("accepted_rows", "rejected_rows")
    reasons = [name for name in quality.columns if name.endswith("_rows") and name not in ("delivered_rows", *parts)]
    others = rejects.filter(~pl.format("{}_rows", "reason").is_in(reasons))
    counted = quality
    for name, frame in (("lines", lines), ("rejects", rejects), ("others", others)):
        counted = counted.join(_per_day(frame, name), on="sale_date", how="full", coalesce=True)
    wrong = counted.filter(
        pl.col("accepted_rows").ne_missing(pl.col("lines").fill_null(0))
        | pl.col("rejected_rows").ne_missing(pl.col("rejects").fill_null(0))
        | (pl.col("delivered_rows") != pl.sum_horizontal(parts))
        | (pl.col("rejected_rows") != pl.sum_horizontal(*reasons, "others"))
    ).sort("sale_date")
    return Finding(
        "counts_match_silver",
        wrong.is_empty(),
        f"{wrong.height} of {quality.height} days are counted otherwise than silver holds them; expected none.",
        {"days_that_differ": wrong.head(EVIDENCE_ROWS)},
    )


def holdout_is_calibrated(values: pl.DataFrame) -> Finding:
    """Whether orders, value and churn of the last 180 days are what was foretold, and churn ranks customers rightly.

    In total within 15 % of the orders and 25 % of the value that came, and 10 points of the share without an order;
    and with an AUC of 0.65 or more, where some customers ordered and some did not.

    Args:
        values: the customers (contract `CustomerValue`).
    """
    known = values.filter(pl.col("holdout_order_days").is_not_null())
    if lacking := _not_fitted(values, known):
        return Finding(
            "holdout_is_calibrated",
            max(lacking.values()) < FEWEST_REPEATERS,
            f"Not judged: nothing is in {', '.join(lacking)}, with {max(lacking.values())} customers who came back; "
            f"{FEWEST_REPEATERS} are enough, and then a fit that failed is the cause (the asset's metadata has it).",
        )
    judged = known.drop_nulls(("holdout_expected_orders", "holdout_expected_value", "holdout_churn_probability"))
    measures, auc = _holdout_measures(judged), _holdout_auc(judged)
    wrong = measures.filter(~pl.col("is_within"))["measure"].to_list()
    wrong += ["churn_auc"] if auc is not None and auc < LEAST_HOLDOUT_AUC else []
    found = "; ".join(f"{name} {expected:,.2f} and {came:,.2f}" for name, expected, came, *_ in measures.iter_rows())
    ranked = "not defined" if auc is None else f"{auc:.3f}"
    return Finding(
        "holdout_is_calibrated",
        not wrong,
        f"Expected of {judged.height} customers in the last 180 days, and come: {found}; AUC of the churn probability "
        f"{ranked} ({LEAST_HOLDOUT_AUC} is the least). Out of bounds: {', '.join(wrong) or 'nothing'}.",
        {"measures": measures, "churn_auc": auc, "customers": judged.height, "deciles": holdout_deciles(values)},
    )


def _not_fitted(values: pl.DataFrame, known: pl.DataFrame) -> dict[str, int]:
    """The columns in which a model says nothing at all, with the customers whom it could have been fitted to."""
    now, before = pl.col("order_days") > 1, pl.col("order_days") - pl.col("holdout_order_days") > 1
    repeaters = {
        **dict.fromkeys(("probability_alive", "expected_order_value"), values.filter(now).height),
        **dict.fromkeys(("holdout_expected_orders", "holdout_expected_value"), known.filter(before).height),
    }
    return {name: count for name, count in repeaters.items() if values[name].count() == 0}


def _holdout_measures(judged: pl.DataFrame) -> pl.DataFrame:
    """What was expected and what came in total: measure, expected, came, allowed (largest difference), is_within."""
    count, churn = max(judged.height, 1), "holdout_churn_probability"
    orders, value = (float(judged[name].sum()) for name in ("holdout_order_days", "holdout_value"))
    silent = judged.filter(pl.col("holdout_order_days") == 0).height
    expected = {
        name: float(judged[name].sum()) for name in ("holdout_expected_orders", "holdout_expected_value", churn)
    }
    rows = [
        ("order_days", expected["holdout_expected_orders"], orders, HOLDOUT_ORDERS_TOLERANCE * orders),
        ("value", expected["holdout_expected_value"], value, HOLDOUT_VALUE_TOLERANCE * value),
        ("silent_share", expected[churn] / count, silent / count, HOLDOUT_CHURN_TOLERANCE),
    ]
    compared = pl.DataFrame(rows, schema=("measure", "expected", "came", "allowed"), orient="row")
    return compared.with_columns(is_within=(pl.col("expected") - pl.col("came")).abs() <= pl.col("allowed"))


def _holdout_auc(judged: pl.DataFrame) -> float | None:
    """How often who stayed away had the higher churn probability than who came, ties half; none without both kinds.

    The rank statistic of Mann and Whitney over the pairs of one of each.
    """
    ranks = judged.select(
        rank=pl.col("holdout_churn_probability").rank("average"), is_silent=pl.col("holdout_order_days") == 0
    )
    silent = ranks.filter("is_silent")["rank"]
    pairs = silent.len() * (ranks.height - silent.len())
    return (float(silent.sum()) - silent.len() * (silent.len() + 1) / 2) / pairs if pairs else None


def holdout_deciles(values: pl.DataFrame) -> pl.DataFrame:
    """Order days expected in the hold-out and those that came, a customer's mean, by tenth of the expectation.

    Args:
        values: the customers (contract `CustomerValue`).

    Returns:
        decile (1 expects least), customers, expected, came; ordered by decile.
    """
    known = values.drop_nulls("holdout_expected_orders").sort("holdout_expected_orders", "customer_id")
    return (
        known.with_columns(decile=pl.int_range(pl.len()) * 10 // pl.len() + 1)
        .group_by("decile")
        .agg(
            customers=pl.len(),
            expected=pl.col("holdout_expected_orders").mean().round(3),
            came=pl.col("holdout_order_days").mean().round(3),
        )
        .sort("decile")
    )


def pairs_are_consistent(pairs: pl.DataFrame, baskets: pl.DataFrame) -> Finding:
    """Whether both directions of a pair agree, no share exceeds 100 %, and a recount of the commonest pairs is equal.

    Args:
        pairs: the pairs (contract `ProductPair`).
        baskets: one row per invoice (invoice_no, sale_date) and stock_code, at least of the products of the
            `RECOUNTED_PAIRS` rows with the highest pair_count.
    """
    import duckdb  # a fifth of a second, which a load of the definitions need not pay

    turned = {
        "other_stock_code": "stock_code",
        "stock_code": "other_stock_code",
        "other_invoice_count": "invoice_count",
        "invoice_count": "other_invoice_count",
    }
    counts = pairs.select(*turned, "pair_count")
    one_sided = counts.join(counts.rename(turned), on=counts.columns, how="anti")
    too_much = counts.filter(pl.col("pair_count") > pl.min_horizontal("invoice_count", "other_invoice_count"))
    with duckdb.connect() as connection:
        connection.register("baskets", baskets.to_arrow())
        connection.register("pairs", commonest_pairs(pairs).to_arrow())
        miscounted = connection.sql(RECOUNT).pl()
    return Finding(
        "pairs_are_consistent",
        one_sided.is_empty() and too_much.is_empty() and miscounted.is_empty(),
        f"Of {pairs.height} rows {one_sided.height} differ from their other direction and {too_much.height} exceed "
        f"100 %; of the {RECOUNTED_PAIRS} commonest {miscounted.height} are counted otherwise in the lines.",
        {
            "one_sided": one_sided.head(EVIDENCE_ROWS),
            "too_much": too_much.head(EVIDENCE_ROWS),
            "miscounted": miscounted,
        },
    )


def commonest_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows with the highest pair_count that `pairs_are_consistent` recounts."""
    ranked = pairs.sort("pair_count", "stock_code", "other_stock_code", descending=[True, False, False])
    return ranked.head(RECOUNTED_PAIRS)


def every_day_has_rows(days: Days, delivered: Collection[date | None]) -> Finding:
    """Whether something was delivered for every day of a range; a shop may well be closed on one.

    Args:
        days: the range.
        delivered: the days with a delivered row.
    """
    empty = sorted(set(days.every()) - set(delivered))
    return Finding(
        "every_day_has_rows",
        not empty,
        f"{len(empty)} of {len(days.every())} days have no delivered row; if the shop was open, ask for the file.",
        {"first_days": [str(day) for day in empty[:EVIDENCE_ROWS]]},
    )


def redeliveries_empty_no_invoice(lines: pl.DataFrame, rejects: pl.DataFrame) -> Finding:
    """Whether every invoice that a later delivery restated still has a line.

    Args:
        lines: the accepted lines (invoice_no, sale_date).
        rejects: the rejected rows as delivered.
    """
    restated = rejects.filter(pl.col("reason") == "superseded").select(
        pl.col("invoice_no").str.strip_chars(), "sale_date"
    )
    emptied = restated.unique().join(lines, on=["invoice_no", "sale_date"], how="anti").sort("sale_date", "invoice_no")
    return Finding(
        "redeliveries_empty_no_invoice",
        emptied.is_empty(),
        f"{emptied.height} invoices lost all their lines to a later delivery; right if they were withdrawn.",
        {"emptied": emptied.head(EVIDENCE_ROWS)},
    )


def invoices_stay_on_one_day(invoices: pl.DataFrame) -> Finding:
    """Whether no invoice number is found on two days.

    Args:
        invoices: invoices of the months around a run (invoice_no, sale_date).
    """
    split = invoices.group_by("invoice_no").agg(days=pl.col("sale_date").n_unique()).filter(pl.col("days") > 1)
    return Finding(
        "invoices_stay_on_one_day",
        split.is_empty(),
        f"{split.height} invoice numbers are found on more than one day; each day counts as an invoice of its own.",
        {"invoices": split.sort("invoice_no").head(EVIDENCE_ROWS)},
    )


def countries_are_known(unmapped: pl.DataFrame) -> Finding:
    """Whether every spelling of a country has a row in the table of aliases.

    Args:
        unmapped: the spellings without one, with their lines.
    """
    return Finding(
        "countries_are_known",
        unmapped.is_empty(),
        f"{unmapped.height} spellings of countries count as Unspecified; add them to country_aliases.csv.",
        {"spellings": unmapped.head(EVIDENCE_ROWS)},
    )


def no_orphan_keys(facts: pl.DataFrame, dimensions: Mapping[str, pl.Series]) -> Finding:
    """Whether every key of the facts is a row of its dimension.

    Args:
        facts: the fact rows.
        dimensions: key column -> all keys of that dimension.
    """
    orphans = {
        column: facts.filter(pl.col(column).is_null() | ~pl.col(column).is_in(keys.implode())).height
        for column, keys in dimensions.items()
    }
    found = {column: rows for column, rows in orphans.items() if rows}
    return Finding(
        "no_orphan_keys",
        not found,
        f"Facts without a row in the dimension: {found or 'none'}; a dimension older than the facts is rebuilt by "
        "running gold again.",
        orphans,
    )


def intervals_are_sound(versions: pl.DataFrame, member: str) -> Finding:
    """Whether the versions of each member neither overlap nor leave holes, and the last one is the current one.

    Args:
        versions: a dimension with half-open [valid_from, valid_to), version from 1 and is_current.
        member: its natural key.
    """
    following = pl.col("valid_from").shift(-1).over(member, order_by="valid_from")
    number = pl.col("valid_from").rank("ordinal").over(member)
    wrong = versions.filter(
        pl.col("valid_to").ne_missing(following)
        | (pl.col("valid_to") <= pl.col("valid_from"))
        | (pl.col("is_current") != following.is_null())
        | (pl.col("version") != number)
    )
    return Finding(
        "intervals_are_sound",
        wrong.is_empty(),
        f"{wrong.height} of {versions.height} versions overlap, leave a hole or are numbered wrongly; expected none.",
        {"wrong": wrong.select(member, "version", "valid_from", "valid_to", "is_current").head(EVIDENCE_ROWS)},
    )


def rows_match_ledger(states: pl.DataFrame, rows: pl.DataFrame) -> Finding:
    """Whether bronze is about to hold as many rows of each day as the ledger says were delivered.

    Args:
        states: day states of the ledger (sale_date, rows).
        rows: the rows to be written (sale_date).
    """
    found = rows.group_by("sale_date").agg(found=pl.len().cast(pl.Int64))
    compared = states.select("sale_date", "rows").join(
        found, on="sale_date", how="full", coalesce=True, nulls_equal=True
    )
    wrong = compared.filter(pl.col("rows").ne_missing(pl.col("found"))).sort("sale_date")
    return Finding(
        "rows_match_ledger",
        wrong.is_empty(),
        f"{wrong.height} days have another number of rows than the ledger says; make the stage anew (retail rebuild).",
        {"days_that_differ": wrong.head(EVIDENCE_ROWS)},
    )


def lake_holds_published_days(
    published: Collection[date | None], delivered: Collection[date | None], held: Collection[date | None]
) -> Finding:
    """Whether no published day would vanish only because the lake has lost it.

    Args:
        published: the days that the marts show.
        delivered: the days that the ledger holds.
        held: the days that silver holds.
    """
    lost = sorted(str(day) for day in (set(published) & set(delivered)) - set(held))
    return Finding(
        "lake_holds_published_days",
        not lost,
        f"{len(lost)} published days are not in the lake, though they were delivered; run them first (retail rebuild).",
        {"first_days": lost[:EVIDENCE_ROWS]},
    )


def totals_match(totals: Mapping[str, Decimal]) -> Finding:
    """Whether a total is the same wherever it is read, to the last decimal."""
    distinct = set(totals.values())
    return Finding(
        "totals_match",
        len(distinct) <= 1,
        "The same total everywhere." if len(distinct) <= 1 else "Totals differ: run the days that differ again.",
        {name: str(total) for name, total in totals.items()},
    )


def _per_day(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.group_by("sale_date").agg(pl.len().cast(pl.Int64).alias(name))


def set_aside_accuracy_holds(set_aside: Mapping[str, Any], is_new: bool) -> Finding:
    """Whether the classifier is right about the labels it never saw as often as it was when it was made.

    Args:
        set_aside: category_accuracy and precision, 0 to 1, and confusions.
        is_new: whether it was trained for this; else the figures are those told when it was.
    """
    accuracy, precision = set_aside["category_accuracy"], set_aside["precision"]
    return Finding(
        "set_aside_accuracy_holds",
        accuracy >= LEAST_ACCURACY and precision >= LEAST_PRECISION,
        f"{accuracy:.1%} of {set_aside['labels']} categories are right (expected {LEAST_ACCURACY:.0%}), and "
        f"{precision:.1%} of the published ones (expected {LEAST_PRECISION:.0%}); "
        f"measured {'in this run' if is_new else 'when the classifier was last trained'}. "
        "Look at the labels that changed last (docs/categories.md).",
        {"is_measured_in_this_run": is_new, "confusions": pl.DataFrame(set_aside["confusions"])},
    )


def revenue_is_classified(revenue: pl.DataFrame) -> Finding:
    """Whether all but a twentieth of product revenue has a category.

    Args:
        revenue: description, category and line_amount of products, the largest amount first.
    """
    unclassified = revenue.filter(pl.col("category") == UNCLASSIFIED).drop("category")
    total, lacking = (Decimal(frame["line_amount"].sum()) for frame in (revenue, unclassified))
    share = 100 * (1 - lacking / total) if total > 0 else Decimal(100)
    return Finding(
        "revenue_is_classified",
        share >= LEAST_REVENUE_CLASSIFIED_PCT,
        f"{share:.1f} % of product revenue has a category; expected {LEAST_REVENUE_CLASSIFIED_PCT} %. "
        "Label the descriptions that sold most (docs/categories.md).",
        {"classified_pct": float(share), "unclassified": unclassified.head(EVIDENCE_ROWS)},
    )

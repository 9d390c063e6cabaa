"""Corrections of rejected rows, as their files tell them: which row each restates, by whom, why, and what changed.

A correction is a delivery like any other, read by a mapping of its own; what it says of itself is in bronze's column
`rescued`. Writing one stays out (`rejects/sending.py`), and so do the rules it may waive (`sales.py`).
"""

import json
from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.contracts import REJECT_CORRECTION
from retail_platform.contracts.corrections import CORRECTING
from retail_platform.lakehouse.mapping import TEXT_COLUMNS
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding
from retail_platform.transforms.sales import cleaned_invoice

SAID = ("action", "by", "at", "why", "reason", "waives", "old", "of_file", "of_sheet", "of_row", "on", "rescued")
"""What each row of a correction says of itself.

`action` is amend, release or restate, `of_*` the row it takes the place of, `reason` why that was left out, `old` its
values that changed, `waives` a rule that does not hold, `on` the delivery that was the invoice's newest, `rescued` the
further columns of the row it restates.
"""
NONE = "none"
"""As `on`: the invoice was in no delivery."""
HIDDEN = ("customer_id",)
"""Columns whose values are not told where everybody reads."""

KEY = ("invoice_no", "sale_date")

_ID_DIGITS = 12


def row_id(file_sha256: str = "file_sha256", sheet: str | None = None, row: str = "source_row") -> pl.Expr:
    """The id of a delivered row: the first digits of its file's hash, its sheet from 0, its row from 1.

    Args:
        file_sha256: the column of the hash.
        sheet: the column of the sheet; None takes it from delivery_id.
        row: the column of the row.
    """
    sheets = pl.col(sheet) if sheet else pl.col("delivery_id").str.split("#").list.last()
    return pl.concat_str(pl.col(file_sha256).str.head(_ID_DIGITS), sheets, pl.col(row).cast(pl.String), separator="-")


def read_corrections(rows: pl.DataFrame) -> pl.DataFrame:
    """What corrections say.

    Args:
        rows: bronze rows of corrections (contract `BronzeSales`).

    Returns:
        The rows with the columns of `SAID` as text in place of `rescued`, `correction_id`, and `reject_id`, the id of
        the row each takes the place of. What a row does not say is null.
    """
    said = [_said(text) for text in rows["rescued"]]
    columns = {name: pl.Series(name, [each.get(name) for each in said], pl.String) for name in SAID}
    return (
        rows.drop("rescued")
        .with_columns(
            *columns.values(),
        )
        .with_columns(correction_id=row_id(), reject_id=row_id("of_file", "of_sheet", "of_row"))
    )


def reject_corrections(told: pl.DataFrame) -> pl.DataFrame:
    """The rows that were amended or released.

    Args:
        told: `read_corrections` of rows with a day.

    Returns:
        One row each (contract `RejectCorrection`), by day and id.
    """
    sent = told.filter(pl.col("action").is_in(CORRECTING))
    changes = [changes_text(row, HIDDEN) for row in sent.iter_rows(named=True)]
    named = sent.rename({"by": "corrected_by", "waives": "waived_rule", "reason": "reject_reason"}).with_columns(
        corrected_at=pl.col("at").str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False
        ),
        changes=pl.Series(changes, dtype=pl.String),
    )
    return named.select(list(REJECT_CORRECTION.schema)).sort("sale_date", "correction_id")


def changes_text(row: dict[str, Any], hidden: tuple[str, ...] = ()) -> str | None:
    """The old and new values of a row of `read_corrections`, in words.

    Args:
        row: the row.
        hidden: columns of which only that they changed is told.
    """
    old = _said(row["old"])
    texts = [
        f"{name} changed" if name in hidden else f"{name}: {_shown(old[name])} -> {_shown(row[name])}"
        for name in TEXT_COLUMNS
        if name in old
    ]
    return ", ".join(texts) or None


def corrections_say_who_and_why(corrections: pl.DataFrame) -> Finding:
    """Whether each correction says who made it, when and why.

    Args:
        corrections: contract `RejectCorrection`.
    """
    silent = corrections.filter(pl.any_horizontal(pl.col("corrected_by", "corrected_at", "why", "reject_id").is_null()))
    return Finding(
        "corrections_say_who_and_why",
        silent.is_empty(),
        f"{silent.height} of {corrections.height} corrections lack who, when, why or which row; expected none: write "
        "corrections with `retail rejects`, or have the file say it.",
        {"silent": silent.select("correction_id", "source_file", "corrected_by", "why").head(EVIDENCE_ROWS)},
    )


def corrections_know_the_newest_delivery(keys: pl.DataFrame) -> Finding:
    """Whether what each correction restates was the invoice's newest delivery before it.

    A delivery that is dated before a correction, but came to light after it was written, loses to it unseen.

    Args:
        keys: `restated_keys`.
    """
    before = pl.col("delivery_id").shift().over("invoice_no", "sale_date", order_by="delivery_rank").fill_null(NONE)
    unseen = keys.with_columns(unseen=before).filter(pl.col("on") != pl.col("unseen"))
    return Finding(
        "corrections_know_the_newest_delivery",
        unseen.is_empty(),
        f"{unseen.height} corrections restate an invoice without having seen the delivery before them; expected none: "
        "compare, and send the whole invoice again.",
        {"unseen": unseen.select("invoice_no", "sale_date", "delivery_id", "on", "unseen").head(EVIDENCE_ROWS)},
    )


def restated_keys(rows: pl.LazyFrame, deliveries: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """The deliveries of every invoice that a correction restates.

    Args:
        rows: bronze rows of whole days.
        deliveries: delivery_id and delivery_rank of all deliveries.
        corrections: `read_corrections` of those days.

    Returns:
        One row per (invoice_no, sale_date, delivery_id) with delivery_rank and, of a correction, `on`.
    """
    on = corrections.select("delivery_id", "file_sha256", "source_row", "on").lazy()
    same_days = rows.filter(pl.col("sale_date").is_in(corrections["sale_date"].unique().to_list()))
    keyed = nw.from_native(same_days).with_columns(invoice_no=cleaned_invoice()).to_native()
    held = keyed.join(on, on=["delivery_id", "file_sha256", "source_row"], how="left").group_by(*KEY, "delivery_id")
    ranks = deliveries.lazy().select("delivery_id", "delivery_rank").unique()
    ranked = held.agg(pl.col("on").drop_nulls().first()).join(ranks, on="delivery_id")
    restated = ranked.filter(pl.col("on").is_not_null().any().over(KEY))
    return restated.sort(*KEY, "delivery_rank").collect()


def _said(text: str | None) -> dict[str, str | None]:
    """The texts of a JSON object; of anything else, none."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: each for name, each in pairs if each is None or isinstance(each, str)}


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)

"""What corrections say of themselves, and the checks on them, on rows written by hand."""

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from retail_platform.contracts import BRONZE_SALES, REJECT_CORRECTION
from retail_platform.transforms.corrections import (
    corrections_know_the_newest_delivery,
    corrections_say_who_and_why,
    read_corrections,
    reject_corrections,
    restated_keys,
)
from retail_platform.transforms.quality import contract_holds

DAY = date(2011, 1, 10)
OLD, NEW = "a" * 64, "b" * 64
SAYS = {
    "action": "amend",
    "by": "Ana",
    "at": "2011-02-01T10:00:00.250000Z",
    "why": "asked",
    "reason": "zero_price",
    "old": json.dumps({"unit_price": "0", "customer_id": None}),
    "of_file": OLD,
    "of_sheet": "2",
    "of_row": "7",
    "on": f"{OLD}#2",
}


def rows(*said: Any, file: str = NEW, invoice: str = " 540001") -> pl.DataFrame:
    """Bronze rows of one file, numbered from 1; what each says of itself is an object or a text."""
    told = [each if isinstance(each, str | None) else json.dumps(each) for each in said]
    values = {"file_sha256": file, "delivery_id": f"{file}#0", "source_file": "f", "sale_date": DAY}
    texts = {"invoice_no": invoice, "stock_code": "10002", "unit_price": "1.25", "customer_id": "13085"}
    listed = [
        dict.fromkeys(BRONZE_SALES.schema) | values | texts | {"source_row": number, "rescued": text}
        for number, text in enumerate(told, 1)
    ]
    return pl.DataFrame(listed, schema=BRONZE_SALES.schema)


def test_what_was_amended_is_told_without_the_customer() -> None:
    frame = reject_corrections(read_corrections(rows(SAYS, SAYS | {"action": "restate"})))
    assert contract_holds(REJECT_CORRECTION, frame).passed
    assert frame.to_dicts() == [
        {
            "sale_date": DAY,
            "correction_id": "bbbbbbbbbbbb-0-1",
            "reject_id": "aaaaaaaaaaaa-2-7",
            "reject_reason": "zero_price",
            "action": "amend",
            "waived_rule": None,
            "corrected_by": "Ana",
            "corrected_at": datetime(2011, 2, 1, 10, 0, 0, 250_000, UTC),
            "why": "asked",
            "changes": "unit_price: '0' -> '1.25', customer_id changed",
            "invoice_no": " 540001",
            "stock_code": "10002",
            "source_file": "f",
        }
    ]


def test_what_is_no_correction_says_nothing() -> None:
    odd = rows(None, "no JSON", "[1]", {"action": "amend", "at": "noon", "old": "x", "why": ["a"]})
    frame = reject_corrections(read_corrections(odd))
    assert contract_holds(REJECT_CORRECTION, frame).passed
    assert frame.select("correction_id", "reject_id", "corrected_at", "why", "changes").rows() == [
        ("bbbbbbbbbbbb-0-4", None, None, None, None)
    ]


def test_a_correction_without_who_or_why_is_found() -> None:
    whole = reject_corrections(read_corrections(rows(SAYS)))
    assert corrections_say_who_and_why(whole).passed
    for name in ("corrected_by", "corrected_at", "why", "reject_id"):
        assert not corrections_say_who_and_why(whole.with_columns(pl.lit(None).alias(name))).passed


def test_a_delivery_that_was_not_seen_is_found() -> None:
    between = "c" * 64
    held = pl.concat([rows(None, file=OLD), rows(None, file=between, invoice="540001"), rows(SAYS, SAYS)])
    deliveries = pl.DataFrame({"delivery_id": [f"{OLD}#0", f"{between}#0", f"{NEW}#0"], "delivery_rank": [0, 1, 2]})
    for on, passed in ((OLD, False), (between, True), (NEW, False)):
        told = read_corrections(rows(*2 * [SAYS | {"on": f"{on}#0"}]))
        keys = restated_keys(held.lazy(), deliveries, told)
        assert keys["delivery_rank"].to_list() == [0, 1, 2]
        assert corrections_know_the_newest_delivery(keys).passed is passed


def test_an_invoice_that_was_new_is_seen_as_such() -> None:
    deliveries = pl.DataFrame({"delivery_id": [f"{NEW}#0", f"{OLD}#0"], "delivery_rank": [1, 0]})
    told = read_corrections(rows(SAYS | {"on": "none"}))
    alone = restated_keys(rows(SAYS).lazy(), deliveries, told)
    assert corrections_know_the_newest_delivery(alone).passed
    late = restated_keys(pl.concat([rows(None, file=OLD), rows(SAYS)]).lazy(), deliveries, told)
    assert not corrections_know_the_newest_delivery(late).passed

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_platform.contracts import BRONZE_SALES, SILVER_REJECTS, SILVER_SALES
from retail_platform.lakehouse.mapping import Mapping, load_mappings
from retail_platform.settings import Settings
from retail_platform.transforms.sales import judge_sales, silver_lines, silver_rejects

DAY = date(2011, 1, 4)
GOOD = {
    "invoice_no": "540001",
    "stock_code": "85123A",
    "description": "WHITE HEART",
    "quantity": "6",
    "unit_price": "2.55",
    "customer_id": "13085",
    "country": "United Kingdom",
}


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return load_mappings(Settings(mappings=None))["online_retail"]


def bronze(*rows: dict[str, Any]) -> pl.DataFrame:
    """Bronze rows of DAY: GOOD, with what each row says otherwise."""
    base = {
        **GOOD,
        "invoice_date": "2011-01-04 10:00:00",
        "sale_date": DAY,
        "invoiced_at": datetime(2011, 1, 4, 10),
        "delivery_id": "a#0",
        "file_sha256": "a",
        "source_file": "a.csv",
        "ingested_at": datetime(2011, 1, 5, tzinfo=UTC),
    }
    filled = [{"source_row": n, **base, **row} for n, row in enumerate(rows, 1)]
    frame = pl.DataFrame(filled, schema={k: v for k, v in BRONZE_SALES.schema.items() if k in filled[0]})
    missing = [pl.lit(None, dtype).alias(n) for n, dtype in BRONZE_SALES.schema.items() if n not in frame.columns]
    return frame.with_columns(missing).with_columns(sale_month=pl.col("sale_date").dt.truncate("1mo"))


def judge(
    rows: pl.DataFrame, mapping: Mapping, ranks: dict[str, int] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    ranks = ranks or {"a#0": 0}
    deliveries = pl.DataFrame(
        {
            "delivery_id": list(ranks),
            "file_sha256": [name.split("#")[0] for name in ranks],
            "delivery_rank": list(ranks.values()),
            "mapping": ["m"] * len(ranks),
        }
    )
    judged = judge_sales(nw.from_native(rows.lazy()), nw.from_native(deliveries.lazy()), {"m": mapping})
    lines, rejects = silver_lines(judged).to_native().collect(), silver_rejects(judged).to_native().collect()
    assert lines.schema == SILVER_SALES.schema
    assert rejects.schema == SILVER_REJECTS.schema
    return lines, rejects


def test_a_good_row_becomes_a_typed_line(mapping: Mapping) -> None:
    lines, rejects = judge(bronze({}), mapping)
    assert rejects.is_empty()
    line = lines.row(0, named=True)
    assert (line["quantity"], line["unit_price"], line["line_amount"]) == (6, Decimal("2.5500"), Decimal("15.3000"))
    assert (line["line_type"], line["is_cancelled"], line["repeat_no"]) == ("product", False, 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"invoice_no": " "}, "missing_invoice"),
        ({"invoice_no": None, "stock_code": None}, "missing_invoice"),
        ({"stock_code": ""}, "missing_stock_code"),
        ({"quantity": "0"}, "invalid_quantity"),
        ({"quantity": "6.5"}, "invalid_quantity"),
        ({"quantity": "1e3"}, "invalid_quantity"),
        ({"quantity": None}, "invalid_quantity"),
        ({"quantity": "2147483648"}, "invalid_quantity"),
        ({"quantity": "99999999999999999999"}, "invalid_quantity"),
        ({"unit_price": "1,50"}, "invalid_price"),
        ({"unit_price": "1e2"}, "invalid_price"),
        ({"unit_price": "."}, "invalid_price"),
        ({"unit_price": None}, "invalid_price"),
        ({"unit_price": "9999999999", "quantity": "2000000000"}, "invalid_price"),
        ({"sale_date": None, "invoiced_at": None}, "invalid_date"),
        ({"sale_date": None, "unit_price": "0"}, "invalid_date"),
        ({"invoice_no": "A540001"}, "adjustment"),
        ({"unit_price": "-1"}, "adjustment"),
        ({"unit_price": "0"}, "zero_price"),
        ({"unit_price": "-0.00004"}, "zero_price"),
        ({"unit_price": "0.00004"}, "zero_price"),
        ({"stock_code": "test001"}, "test_line"),
    ],
)
def test_reject_reasons_in_their_order(row: dict[str, Any], reason: str, mapping: Mapping) -> None:
    lines, rejects = judge(bronze(row), mapping)
    assert lines.is_empty()
    assert rejects["reason"].to_list() == [reason]


def test_a_reject_keeps_its_values_as_delivered(mapping: Mapping) -> None:
    _, rejects = judge(bronze({"stock_code": " test001 ", "description": "a  b"}), mapping)
    assert rejects.select("stock_code", "description", "line_amount").row(0) == (
        " test001 ",
        "a  b",
        Decimal("15.3000"),
    )


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("stock_code", " 85123a ", "85123A"),
        ("description", "  RED   HEART ", "RED HEART"),
        ("description", "  ", None),
        ("customer_id", "13085.0", "13085"),
        ("customer_id", "13085", "13085"),
        ("customer_id", "", None),
        ("country", " EIRE", "EIRE"),
        ("quantity", "+6", 6),
        ("quantity", "-0006.00", -6),
        ("quantity", "000000000000000000000012", 12),
        ("unit_price", "2.55545", Decimal("2.5555")),
        ("unit_price", "2.55544999", Decimal("2.5554")),
        ("unit_price", ".5", Decimal("0.5000")),
        ("unit_price", "18.", Decimal("18.0000")),
        ("unit_price", "0018.1", Decimal("18.1000")),
        ("unit_price", "0.00005", Decimal("0.0001")),
    ],
)
def test_cleaning(column: str, text: str, expected: Any, mapping: Mapping) -> None:
    lines, _ = judge(bronze({column: text}), mapping)
    assert lines[column].to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"), [("6,50", Decimal("6.5000")), ("18", Decimal("18.0000")), ("6.50", None), ("1.234,50", None)]
)
def test_a_mapping_may_say_that_decimals_have_a_comma(text: str, expected: Any, mapping: Mapping) -> None:
    lines, rejects = judge(bronze({"unit_price": text}), mapping.model_copy(update={"decimal": ","}))
    assert lines["unit_price"].to_list() == ([expected] if expected else [])
    assert rejects["reason"].to_list() == ([] if expected else ["invalid_price"])


@pytest.mark.parametrize(
    ("code", "line_type"),
    [
        ("POST", "postage"),
        ("C2", "postage"),
        ("23444", "postage"),
        ("BANK CHARGES", "fee"),
        ("D", "discount"),
        ("gift_0001_20", "gift_voucher"),
        ("22016", "gift_voucher"),
        ("ADJUST2", "manual"),
        ("S", "sample"),
        ("B", "other"),
        ("10002", "product"),
        ("DCGS0058", "product"),
        ("SP1002", "product"),
        ("WHAT", "other"),
    ],
)
def test_line_types(code: str, line_type: str, mapping: Mapping) -> None:
    lines, _ = judge(bronze({"stock_code": code}), mapping)
    assert lines["line_type"].to_list() == [line_type]


def test_a_later_delivery_restates_the_whole_invoice_of_the_day(mapping: Mapping) -> None:
    rows = bronze({}, {"stock_code": "10002"}, {"delivery_id": "b#0", "file_sha256": "b", "quantity": "7"})
    lines, rejects = judge(rows, mapping, {"a#0": 0, "b#0": 1})
    assert lines["quantity"].to_list() == [7]
    assert rejects["reason"].to_list() == ["superseded", "superseded"]
    lines, _ = judge(rows, mapping, {"a#0": 1, "b#0": 0})
    assert sorted(lines["stock_code"]) == ["10002", "85123A"]


def test_a_rejected_row_claims_its_invoice_too(mapping: Mapping) -> None:
    rows = bronze({}, {"delivery_id": "b#0", "file_sha256": "b", "quantity": "0", "invoice_no": " 540001 "})
    lines, rejects = judge(rows, mapping, {"a#0": 0, "b#0": 1})
    assert lines.is_empty()
    assert sorted(rejects["reason"]) == ["invalid_quantity", "superseded"]


def test_a_row_without_a_day_claims_nothing(mapping: Mapping) -> None:
    rows = bronze({}, {"delivery_id": "b#0", "file_sha256": "b", "sale_date": None})
    lines, rejects = judge(rows, mapping, {"a#0": 0, "b#0": 1})
    assert lines.height == 1
    assert rejects["reason"].to_list() == ["invalid_date"]


def test_the_first_of_equal_lines_stays(mapping: Mapping) -> None:
    rows = bronze({"source_row": 3}, {"source_row": 1, "quantity": "6.0"}, {"source_row": 2, "customer_id": None})
    lines, rejects = judge(rows, mapping)
    assert sorted(lines["source_row"]) == [1, 2]
    assert rejects.select("reason", "source_row", "line_amount").rows() == [("duplicate_line", 3, Decimal("15.3000"))]


def test_repeats_are_kept_and_numbered_when_the_mapping_says_so(mapping: Mapping) -> None:
    lines, rejects = judge(bronze({}, {}), mapping.model_copy(update={"repeats": "keep"}))
    assert sorted(lines["repeat_no"]) == [1, 2]
    assert rejects.is_empty()


def test_a_rejected_row_is_no_repeat_of_a_good_one(mapping: Mapping) -> None:
    lines, _ = judge(bronze({"quantity": "0"}, {"quantity": "1"}, {"quantity": "1"}), mapping)
    assert lines.height == 1


VALUES = st.sampled_from(
    [None, "", " 6 ", "6", "6.0", "6.5", "-3", "+4", "1e3", "x", "0", "2.55545", "C1", "A1", "TEST1"]
)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES, st.sampled_from(["a", "b"])), min_size=1, max_size=12))
def test_nothing_is_lost_and_engines_agree(rows: list[tuple[Any, ...]]) -> None:
    mapping = load_mappings(Settings(mappings=None))["online_retail"]
    frame = bronze(
        *(
            {
                "invoice_no": i,
                "stock_code": s,
                "quantity": q,
                "unit_price": p,
                "delivery_id": f"{d}#0",
                "file_sha256": d,
            }
            for i, s, q, p, d in rows
        )
    )
    lines, rejects = judge(frame, mapping, {"a#0": 0, "b#0": 1})
    assert lines.height + rejects.height == frame.height
    with duckdb.connect() as connection:
        deliveries = pl.DataFrame(
            {"delivery_id": ["a#0", "b#0"], "file_sha256": ["a", "b"], "delivery_rank": [0, 1], "mapping": ["m", "m"]}
        )
        connection.register("frame", frame.to_arrow())
        connection.register("deliveries", deliveries.to_arrow())
        sources = (nw.from_native(connection.table(name)) for name in ("frame", "deliveries"))
        other = judge_sales(*sources, {"m": mapping})
        keys = ["delivery_id", "source_row"]
        other_lines = silver_lines(other).to_native().pl().sort(keys)
        other_rejects = silver_rejects(other).to_native().pl().sort(keys)
    compared = ["quantity", "unit_price", "line_amount", "line_type", "is_cancelled", "repeat_no", *keys]
    assert lines.sort(keys).select(compared).rows() == other_lines.select(compared).rows()
    assert rejects.sort(keys).select("reason", *keys).rows() == other_rejects.select("reason", *keys).rows()

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from retail_platform.contracts import BRONZE_SALES
from retail_platform.contracts.silver import LINE_TYPES
from retail_platform.lakehouse.formats import SetAside
from retail_platform.lakehouse.mapping import TEXT_COLUMNS, Mapping, MappingError, choose_mapping, load_mappings
from retail_platform.settings import Settings
from retail_platform_tests.lakehouse.platform import MODIFIED, bronze, land, registered

OWN = """
[till]
files = "till/*"
date_formats = ["%d-%m-%Y"]
[till.columns]
invoice_no = ["Bon"]
stock_code = ["Artikel"]
quantity = ["Menge"]
invoice_date = ["Datum"]
unit_price = ["Preis"]
"""
CSV = "Bon;Artikel;Menge;Datum;Preis\n7;85048;1;24-12-2010;3,50\n"
COLUMNS = {name: (name,) for name in ("invoice_no", "stock_code", "quantity", "invoice_date", "unit_price")}


@pytest.fixture
def packaged(settings: Settings) -> Mapping:
    return load_mappings(settings)["online_retail"]


def mapping(**changes: object) -> Mapping:
    return Mapping.model_validate({"name": "m", "columns": COLUMNS, "date_formats": ["%Y-%m-%d"], **changes})


@pytest.mark.parametrize(
    "header",
    [
        ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"],
        ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"],
        [
            "\ufeffINVOICE_NO",
            " stock code ",
            "description",
            "QUANTITY",
            "invoice date",
            "unit_price",
            "customer_id",
            "COUNTRY",
        ],
    ],
)
def test_headers_of_both_years_and_any_case_are_known(packaged: Mapping, header: list[str]) -> None:
    assert packaged.assign(header) == dict(zip(header, TEXT_COLUMNS, strict=True))
    assert packaged.missing(header) == []


def test_text_columns_are_those_of_bronze() -> None:
    assert set(TEXT_COLUMNS) <= set(BRONZE_SALES.schema)


def test_line_types_of_the_packaged_codes_are_known(packaged: Mapping) -> None:
    assert {rule.line_type for rule in packaged.codes} == set(LINE_TYPES)


@pytest.mark.parametrize(
    ("code", "line_type"),
    [
        ("POST", "postage"),
        ("23444", "postage"),
        ("C2", "postage"),
        ("22016", "gift_voucher"),
        ("GIFT_0001_80", "gift_voucher"),
        ("M", "manual"),
        ("ADJUST2", "manual"),
        ("S", "sample"),
        ("TEST001", "test"),
        ("B", "other"),
        ("85048", "product"),
        ("79323P", "product"),
        ("DCGS0058", "product"),
        ("PADS", "product"),
        ("SP1002", "product"),
        ("D", "discount"),
        ("BANK CHARGES", "fee"),
        ("CRUK", "fee"),
        ("8504", None),
    ],
)
def test_packaged_codes_are_those_of_the_design(packaged: Mapping, code: str, line_type: str | None) -> None:
    fits = (
        rule.line_type
        for rule in packaged.codes
        if code in rule.exact or code.startswith(rule.prefixes) or (rule.pattern and re.search(rule.pattern, code))
    )
    assert next(fits, None) == line_type


@pytest.mark.parametrize(
    ("name", "delivered_at", "batch"),
    [
        ("sales__20101210T010203Z.csv", datetime(2010, 12, 10, 1, 2, 3, tzinfo=UTC), None),
        ("sales__batch-42-b__20101210T010203Z.csv.gz", datetime(2010, 12, 10, 1, 2, 3, tzinfo=UTC), "42-b"),
        ("sales__20101210T010203Z__batch-a_b.csv", datetime(2010, 12, 10, 1, 2, 3, tzinfo=UTC), "a_b"),
        ("sales_20101210T010203Z.csv", MODIFIED, None),
    ],
)
def test_stamp_and_batch_are_read_from_the_name(
    packaged: Mapping, name: str, delivered_at: datetime, batch: str | None
) -> None:
    assert packaged.delivered_at(name, MODIFIED) == delivered_at
    assert packaged.batch_id(name) == batch


def test_a_stamp_that_is_no_date_is_a_verdict_on_the_file(packaged: Mapping) -> None:
    with pytest.raises(SetAside, match="20101399T010203Z") as verdict:
        packaged.delivered_at("sales__20101399T010203Z.csv", MODIFIED)
    assert verdict.value.reason == "bad_stamp"


def test_the_first_mapping_whose_glob_and_columns_fit_reads_the_file() -> None:
    by_glob, by_columns, anything = (
        mapping(name="a", files="x/*"),
        mapping(name="b", columns=COLUMNS | {"quantity": ["Menge"]}),
        mapping(name="c"),
    )
    mappings = [by_glob, by_columns, anything]
    assert choose_mapping(mappings, "x/1.csv", list(COLUMNS)).name == "a"
    assert choose_mapping(mappings, "y.csv", list(COLUMNS)).name == "c"
    assert choose_mapping(mappings, "y.csv", [*list(COLUMNS)[:2], "Menge", *list(COLUMNS)[3:]]).name == "b"
    with pytest.raises(SetAside) as verdict:
        choose_mapping([by_glob], "y.csv", list(COLUMNS))
    assert verdict.value.reason == "no_mapping"


def test_another_retailer_needs_a_mapping_and_no_code(settings: Settings, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    with_own = settings.model_copy(update={"mappings": own})
    land(with_own, "till/1.csv", CSV, datetime(2011, 1, 1, tzinfo=UTC))
    _, ledger = registered(with_own)
    assert ledger.deliveries()["mapping"].to_list() == ["till"]
    assert bronze(with_own).select("invoice_no", "unit_price", "sale_date").row(0) == ("7", "3,50", date(2010, 12, 24))


def test_own_mappings_come_first_and_replace_packaged_ones(settings: Settings, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN + OWN.replace("till", "online_retail"))
    mappings = load_mappings(settings.model_copy(update={"mappings": own}))
    assert list(mappings) == ["till.corrections", "online_retail.corrections", "till", "online_retail"]
    assert mappings["online_retail"].columns["invoice_no"] == ("Bon",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"invoice_no": ["a"]}}, "no spelling for"),
        ({"columns": COLUMNS | {"colour": ["a"]}}, "unknown columns"),
        ({"columns": COLUMNS | {"country": ["Quantity"]}}, "belong to two columns"),
        ({"date_formats": []}, "date_formats is empty"),
        ({"date_formats": ["%H:%M"]}, "no full day"),
        ({"batch": "__(.*)"}, "no group 'batch'"),
        ({"batch": "__(?P<batch>"}, "no regular expression"),
        ({"stamp": {"pattern": "x", "format": "%Y"}}, "no group 'stamp'"),
        ({"repeats": "perhaps"}, "repeats"),
        ({"typo": 1}, "typo"),
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mapping(**changes)


def test_a_wrong_mappings_file_is_named(settings: Settings, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("x = 1")
    with pytest.raises(MappingError, match=r"own\.toml"):
        load_mappings(settings.model_copy(update={"mappings": own}))


def test_fingerprint_covers_parsing_and_nothing_else() -> None:
    plain = mapping()
    assert mapping(columns=COLUMNS | {"quantity": ["QUANTITY", "quantity"]}).fingerprint == plain.fingerprint
    assert mapping(date_formats=["%d.%m.%Y"]).fingerprint != plain.fingerprint
    assert mapping(columns=COLUMNS | {"quantity": ["Menge"]}).fingerprint != plain.fingerprint
    keeping = mapping(repeats="keep")
    assert keeping.fingerprint == plain.fingerprint
    assert keeping.rules_fingerprint != plain.rules_fingerprint

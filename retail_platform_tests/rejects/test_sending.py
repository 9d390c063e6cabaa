"""Rejected rows sent again, on deliveries small enough to be judged by eye."""

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from click.testing import CliRunner

from retail_platform.cli import main
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.rejects.book import Book, RejectError, Row
from retail_platform.rejects.sending import Correction, send_rows
from retail_platform.settings import Settings
from retail_platform_tests.lakehouse.platform import HEADER, bronze, land

DAY = date(2010, 12, 1)
TIME = "2010-12-01 10:00:00"
ROWS = f"""\
540001,10002,A,2,{TIME},1.50,13085,UK
540001,10003,B,1,{TIME},0,13085,UK
540001,10004,"C, ""large""  ",x,{TIME},2.00,13085,UK
540001,10002,A,2,{TIME},1.50,13085,UK
540002,TEST001,T,1,{TIME},3.00,,UK
540002,10007,F,4,{TIME},1.00,,UK
A540003,B,Adjust bad debt,1,{TIME},100,,UK
540004,10005,D,1,never,2.00,,UK
,10006,E,1,{TIME},2.00,,UK
A540005,B,Adjust bad debt,1,{TIME},-100,,UK
"""
LINE, ZERO, QUANTITY, REPEAT, TEST, OTHER, ADJUSTMENT, DATE, INVOICE, NEGATIVE = range(1, 11)


@pytest.fixture
def platform(tmp_path: Path) -> Settings:
    return delivered(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The same, for tests that change nothing in it."""
    return delivered(tmp_path_factory.mktemp("untouched"))


def delivered(home: Path) -> Settings:
    settings = Settings(home=home, mappings=None)
    deliver(settings, "sales__20101202T000000Z.csv", ROWS)
    return settings


def deliver(settings: Settings, name: str, rows: str) -> None:
    land(settings, name, HEADER + rows)
    register_arrivals(settings)


def id_of(settings: Settings, row: int, file: str = "sales__20101202T000000Z.csv") -> str:
    (sha256,) = Ledger(settings).deliveries().filter(pl.col("source_file") == file)["file_sha256"]
    return f"{sha256[:12]}-0-{row}"


def amend(settings: Settings, *rows: int | str, **changes: str) -> Correction:
    return _send(settings, "amend", rows, changes)


def release(settings: Settings, *rows: int | str, **changes: str) -> Correction:
    return _send(settings, "release", rows, changes)


def _send(settings: Settings, action: str, rows: tuple[int | str, ...], changes: dict[str, str]) -> Correction:
    ids = [row if isinstance(row, str) else id_of(settings, row) for row in rows]
    return send_rows(settings, ids, action=action, changes=changes, by="Ana", why="asked the shop")


def refusal(settings: Settings, action: str, *rows: int | str, **changes: str) -> str:
    before = files(settings)
    with pytest.raises(RejectError) as refused:
        _send(settings, action, rows, changes)
    assert files(settings) == before
    return str(refused.value)


def files(settings: Settings) -> list[Path]:
    return sorted(path for path in settings.landing.rglob("*") if path.is_file())


def judged(settings: Settings) -> pl.DataFrame:
    return Book(settings).judged(bronze(settings))


def lines(settings: Settings, invoice: str = "540001") -> list[tuple[Any, ...]]:
    accepted = judged(settings).filter(pl.col("reason").is_null() & (pl.col("invoice_no") == invoice))
    return sorted(accepted.select("stock_code", "quantity", pl.col("unit_price").cast(pl.String), "repeat_no").rows())


def reasons(settings: Settings) -> Counter[str]:
    return Counter(judged(settings)["reason"].drop_nulls())


def test_what_a_killed_command_left_is_removed_by_the_next(platform: Settings) -> None:
    folder = platform.landing / "corrections" / "online_retail"
    folder.mkdir(parents=True)
    left, of_others = folder / f".{uuid4().hex}.part", folder / ".till.part"
    left.touch()
    of_others.touch()
    sent = amend(platform, ZERO, unit_price="1.25")
    assert sorted(folder.iterdir()) == sorted([of_others, sent.path])


def test_the_command_counts_the_lines_it_sends_along(platform: Settings) -> None:
    def told(row: int) -> str:
        arguments = ["rejects", "amend", id_of(platform, row), "--by", "Ana", "--why", "asked", "--set", "quantity=3"]
        return (
            CliRunner()
            .invoke(main, [*arguments, "--set", "unit_price=2"], env={"RETAIL_HOME": str(platform.home)})
            .output
        )

    assert "with 1 line of the same invoices" in told(ZERO)
    assert "with 2 lines of the same invoices" in told(QUANTITY)


def test_an_amended_row_is_a_line_and_the_others_stay_as_they_are(platform: Settings) -> None:
    before = bronze(platform).height
    sent = amend(platform, ZERO, unit_price="1.25")
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10003", 1, "1.2500", 1)]
    assert (sent.days, sent.restated, len(sent.ids)) == ([DAY], 1, 1)
    assert bronze(platform).height == before + 2
    assert reasons(platform) == Counter(
        # of the delivery: its one accepted line and the repeat of it, whose invoice is restated
        superseded=2,
        zero_price=1,
        invalid_quantity=1,
        test_line=1,
        adjustment=2,
        invalid_date=1,
        missing_invoice=1,
    )
    assert lines(platform, "540002") == [("10007", 4, "1.0000", 1)]


def test_a_correction_is_a_delivery_of_a_mapping_of_its_own(platform: Settings) -> None:
    sent = amend(platform, ZERO, unit_price="1.25")
    newest = Ledger(platform).deliveries().sort("delivery_rank").tail(1).row(0, named=True)
    assert newest["source_file"] == sent.path.relative_to(platform.landing).as_posix()
    assert newest["mapping"] == "online_retail.corrections"
    assert [path.name for path in sent.path.parent.iterdir()] == [sent.path.name]


def test_amendments_one_after_the_other_both_survive(platform: Settings) -> None:
    amend(platform, ZERO, unit_price="1.25")
    amend(platform, QUANTITY, quantity="3")
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10003", 1, "1.2500", 1), ("10004", 3, "2.0000", 1)]


def test_rows_of_several_invoices_go_into_one_file(platform: Settings) -> None:
    sent = release(platform, REPEAT, ADJUSTMENT)
    assert sent.restated == 1
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10002", 2, "1.5000", 2)]
    assert lines(platform, "A540003") == [("B", 1, "100.0000", 1)]


def test_a_released_repeat_is_a_second_line_and_stays_one(platform: Settings) -> None:
    release(platform, REPEAT)
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10002", 2, "1.5000", 2)]
    amend(platform, ZERO, unit_price="1.25")
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10002", 2, "1.5000", 2), ("10003", 1, "1.2500", 1)]


def test_a_repeat_can_be_released_after_its_invoice_was_corrected(platform: Settings) -> None:
    amend(platform, ZERO, unit_price="1.25")
    assert Book(platform).row(id_of(platform, REPEAT)).reason == "duplicate_line"
    release(platform, REPEAT)
    assert len(lines(platform)) == 3


def test_a_row_without_a_day_gets_one(platform: Settings) -> None:
    sent = amend(platform, DATE, invoice_date=TIME)
    assert (sent.days, sent.restated) == ([DAY], 0)
    assert lines(platform, "540004") == [("10005", 1, "2.0000", 1)]


def test_a_row_without_an_invoice_joins_the_lines_of_one(platform: Settings) -> None:
    amend(platform, INVOICE, invoice_no="540002")
    assert lines(platform, "540002") == [("10006", 1, "2.0000", 1), ("10007", 4, "1.0000", 1)]


def test_a_correction_can_be_corrected(platform: Settings) -> None:
    first = amend(platform, ZERO, unit_price="125")
    amend(platform, first.ids[0], unit_price="1.25")
    assert lines(platform) == [("10002", 2, "1.5000", 1), ("10003", 1, "1.2500", 1)]
    message = refusal(platform, "amend", amend(platform, QUANTITY, quantity="3").ids[0], invoice_no="540002")
    assert "send both invoices again" in message


@pytest.mark.parametrize(
    ("action", "row", "changes", "message"),
    [
        ("amend", ZERO, {"unit_price": "1,25"}, "rejected again, as invalid_price"),
        ("amend", ZERO, {"unit_price": "-1"}, "rejected again, as adjustment"),
        ("amend", ZERO, {"invoice_date": "2031-01-01"}, "rejected again, as invalid_date"),
        (
            "amend",
            QUANTITY,
            {"quantity": "2", "stock_code": "10002", "description": "A", "unit_price": "1.5"},
            "duplicate",
        ),
        ("amend", ZERO, {"unit_price": "0"}, "nothing would change"),
        ("amend", ZERO, {}, "nothing is to be changed"),
        ("amend", ZERO, {"price": "1"}, "no column is called price"),
        ("amend", LINE, {"quantity": "3"}, "is accepted: nothing"),
        ("release", ZERO, {}, "cannot be released from zero_price"),
        ("release", QUANTITY, {}, "cannot be released from invalid_quantity"),
        ("release", TEST, {}, "cannot be released from test_line"),
        ("release", DATE, {}, "cannot be released from invalid_date"),
        ("release", NEGATIVE, {}, "would be rejected, as adjustment"),
        ("release", ZERO, {"unit_price": "1"}, "no rule drops"),
        ("delete", ZERO, {}, "there is no action 'delete'"),
        ("amend", "0123456789ab-0-1", {"quantity": "1"}, "no delivered row has the id"),
        ("amend", "17", {"quantity": "1"}, "is no id of a row"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_word(
    untouched: Settings, action: str, row: int | str, changes: dict[str, str], message: str
) -> None:
    assert message in refusal(untouched, action, row, **changes)


@pytest.mark.parametrize(("by", "why"), [(" ", "why"), ("Ana", "")])
def test_who_and_why_are_asked_for(untouched: Settings, by: str, why: str) -> None:
    with pytest.raises(RejectError, match="by whom and why"):
        send_rows(untouched, [id_of(untouched, ZERO)], action="amend", changes={"unit_price": "1"}, by=by, why=why)


def test_a_row_that_was_corrected_is_refused_and_names_its_successor(platform: Settings) -> None:
    sent = amend(platform, ZERO, unit_price="1.25")
    assert sent.ids[0] in refusal(platform, "amend", ZERO, unit_price="2")


def test_a_row_whose_invoice_was_delivered_again_is_refused(platform: Settings) -> None:
    deliver(platform, "later__20101203T000000Z.csv", f"540001,10003,B,1,{TIME},0,13085,UK\n")
    assert "later__20101203T000000Z.csv" in refusal(platform, "amend", ZERO, unit_price="1")
    amend(platform, id_of(platform, 1, "later__20101203T000000Z.csv"), unit_price="1")
    assert lines(platform) == [("10003", 1, "1.0000", 1)]


def test_a_correction_ranks_after_a_delivery_of_a_day_to_come(platform: Settings) -> None:
    later = "later__29990101T000000Z.csv"
    deliver(platform, later, "".join(f"54000{number},10003,B,1,{TIME},0,13085,UK\n" for number in (1, 8)))
    sent = [amend(platform, id_of(platform, row, later), unit_price=str(row)) for row in (1, 2)]
    amend(platform, TEST, stock_code="10008")
    assert (lines(platform), lines(platform, "540008")) == ([("10003", 1, "1.0000", 1)], [("10003", 1, "2.0000", 1)])
    assert len(lines(platform, "540002")) == 2
    assert sent[0].path != sent[1].path


def test_lines_are_restated_as_they_were_delivered(platform: Settings) -> None:
    odd = '"  ""quoted""; \u00e9 \u20ac\u00a0\\ "'
    land(
        platform,
        "odd__20101202T000001Z.csv",
        HEADER.replace("\n", ",Till,Note\n")
        + f"540009, 10010 ,{odd},007.0,{TIME},1.50000, 13085.0,UK,3,\n540009,10011,,1,{TIME},0,,,,{odd}\n",
    )
    register_arrivals(platform)
    sent = amend(platform, id_of(platform, 2, "odd__20101202T000001Z.csv"), unit_price="2")
    texts = bronze(platform).filter(pl.col("stock_code").str.contains("1001")).sort("source_file", "source_row")
    first, again = (texts.filter(pl.col("source_file").str.starts_with(name)) for name in ("odd", "corrections"))
    columns = ["invoice_no", "stock_code", "description", "quantity", "invoice_date", "customer_id", "country"]
    assert again.select(columns).equals(first.select(columns))
    assert again["unit_price"].to_list() == ["1.50000", "2"]
    assert [json.loads(text)["rescued"] for text in again["rescued"]] == first["rescued"].to_list()
    again_amended = amend(platform, sent.ids[0], unit_price="3")
    newest = bronze(platform).filter(pl.col("source_file").str.ends_with(again_amended.path.name)).sort("source_row")
    assert [json.loads(text)["rescued"] for text in newest["rescued"]] == first["rescued"].to_list()


def test_the_history_says_who_and_why(platform: Settings) -> None:
    first = amend(platform, ZERO, unit_price="125", customer_id="")
    amend(platform, QUANTITY, quantity="3")
    restated = Book(platform).row(first.ids[0]).advice.rpartition(" ")[2]
    second = amend(platform, restated, unit_price="1.25")
    stories = [Book(platform).row(id_) for id_ in (id_of(platform, ZERO), first.ids[0], restated, second.ids[0])]
    assert [row.status for row in stories] == ["corrected", "corrected", "corrected", "accepted"]
    assert len({tuple(row.history) for row in stories}) == 1
    told = [(event.what, event.by, event.why, event.changes) for event in stories[0].history]
    assert told == [
        ("delivered: sales__20101202T000000Z.csv, row 2", None, None, None),
        ("amend", "Ana", "asked the shop", "unit_price: '0' -> '125', customer_id: '13085' -> nothing"),
        ("amend", "Ana", "asked the shop", "unit_price: '125' -> '1.25'"),
    ]


def test_only_a_correction_waives_a_rule(platform: Settings) -> None:
    content = HEADER.replace("\n", ",waives\n") + f"A540010,B,Adjust,1,{TIME},3.00,,UK,adjustment\n"
    land(platform, "sly__20101202T000002Z.csv", content)
    register_arrivals(platform)
    assert lines(platform, "A540010") == []


def test_words_cannot_waive_a_rule(platform: Settings) -> None:
    why = 'x","waives":"adjustment'
    (id_,) = send_rows(platform, [id_of(platform, REPEAT)], action="release", changes={}, by=why, why=why).ids
    assert Book(platform).row(id_).status == "accepted"
    (file,) = (platform.landing / "corrections").rglob("*.jsonl")
    sly = "".join(
        json.dumps({**json.loads(text), "invoice_no": "A540011"}) + "\n" for text in file.read_text().splitlines()
    )
    land(platform, "corrections/online_retail/sly__20110101T000000.000000Z.jsonl", sly)
    register_arrivals(platform)
    rows = judged(platform).filter(pl.col("invoice_no") == "A540011")
    assert set(rows["reason"]) == {"adjustment"}


def test_a_row_is_corrected_by_the_rules_of_its_own_mapping(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        """
        ["till [a]"]
        files = "till/*"
        date_formats = ["%d/%m/%Y %H:%M"]
        decimal = ","
        repeats = "keep"
        ["till [a]".columns]
        invoice_no = ["Bon"]
        stock_code = ["Artikel"]
        quantity = ["Menge"]
        invoice_date = ["Datum"]
        unit_price = ["Preis"]
        """
    )
    settings = Settings(home=tmp_path, mappings=own)
    rows = "7;85048;1;02/03/2010 10:00;3,50\n" * 2 + "7;85049;1;02/03/2010 10:00;3.50\n"
    land(settings, "till/a.csv", "Bon;Artikel;Menge;Datum;Preis\n" + rows)
    register_arrivals(settings)
    amend(settings, id_of(settings, 3, "till/a.csv"), unit_price="3,75")
    assert lines(settings, "7") == [("85048", 1, "3.5000", 1), ("85048", 1, "3.5000", 2), ("85049", 1, "3.7500", 1)]


def test_an_empty_text_empties_a_column(platform: Settings) -> None:
    (id_,) = amend(platform, ZERO, unit_price="1", description="", country="").ids
    row: Row = Book(platform).row(id_)
    assert (row.values["description"], row.values["country"], row.status) == (None, None, "accepted")

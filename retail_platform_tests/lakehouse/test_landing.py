import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from retail_platform.contracts import BRONZE_SALES
from retail_platform.lakehouse import landing
from retail_platform.lakehouse.landing import Registration, register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.stage import StageError, bronze_rows, undated_rows
from retail_platform.settings import Settings
from retail_platform_tests.lakehouse.platform import FAR, HEADER, LINE, MODIFIED, bronze, land, lines, registered

KILLED_BEFORE_THE_LEDGER = """
import os, signal, sys
from pathlib import Path
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings

def append(self, observations):
    if observations:
        os.kill(os.getpid(), signal.SIGKILL)

Ledger.append = append
register_arrivals(Settings(home=Path(sys.argv[1]), mappings=None))
"""
REGISTERED_ONCE = KILLED_BEFORE_THE_LEDGER.partition("def append")[0] + (
    "register_arrivals(Settings(home=Path(sys.argv[1]), mappings=None))"
)


def process(code: str, settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(settings.home)], stderr=subprocess.PIPE)


def kept(settings: Settings) -> list[Path]:
    return [path for path in (settings.deliveries / "bytes").rglob("*") if path.is_file()]


def test_a_file_is_kept_parsed_and_registered(settings: Settings) -> None:
    land(settings, "shop/a.csv", HEADER + LINE)
    registration, ledger = registered(settings)
    assert registration == Registration(accepted=1)
    delivery = ledger.deliveries().row(0, named=True)
    (copy,) = kept(settings)
    assert copy.name == delivery["file_sha256"]
    assert copy.read_text() == HEADER + LINE
    assert copy.stat().st_mode & 0o777 == 0o444
    assert (delivery["source_file"], delivery["format"], delivery["rows"]) == ("shop/a.csv", "csv", 1)
    row = bronze(settings).row(0, named=True)
    assert (row["source_file"], row["source_row"], row["sale_month"]) == ("shop/a.csv", 1, date(2009, 12, 1))
    assert row["delivery_id"] == delivery["delivery_id"] == f"{copy.name}#0"
    assert row["ingested_at"] == delivery["ingested_at"]


def test_what_is_known_is_not_looked_at_again(settings: Settings) -> None:
    land(settings, "a.csv", HEADER + LINE)
    land(settings, "bad.csv", b"")
    assert registered(settings)[0] == Registration(accepted=1, set_aside=1)
    assert registered(settings)[0] == Registration()
    assert Ledger(settings).observations.height == 2


def test_one_bad_file_stops_no_other(settings: Settings) -> None:
    for name, content in (("a.csv", HEADER + LINE), ("b.csv", b""), ("c.pdf", b"x"), ("d.csv", lines("2010-01-01"))):
        land(settings, name, content)
    registration, ledger = registered(settings)
    assert registration == Registration(accepted=2, set_aside=2)
    assert ledger.files().filter(status="set_aside").select("path", "reason").rows() == [
        ("b.csv", "empty"),
        ("c.pdf", "unknown_format"),
    ]


def test_hidden_and_unfinished_names_are_no_arrivals(settings: Settings) -> None:
    for name in (".a.csv", "a.csv.part", "a.csv.TMP", "a.csv.crdownload", "a.csv~", "~$a.xlsx", ".hidden/a.csv"):
        land(settings, name, HEADER + LINE)
    (settings.landing / "nowhere.csv").symlink_to("not/there")
    assert registered(settings)[0] == Registration()


def test_landing_that_is_not_there_holds_nothing(settings: Settings) -> None:
    assert registered(settings)[0] == Registration()
    assert bronze(settings).is_empty()


def test_a_name_that_is_no_utf_8_is_registered_escaped(settings: Settings) -> None:
    settings.landing.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(settings.landing) + b"/caf\xe9.csv")).write_text(HEADER + LINE)
    _, ledger = registered(settings)
    assert ledger.deliveries()["source_file"].to_list() == ["caf\\udce9.csv"]
    assert registered(settings)[0] == Registration()


def test_a_file_that_changes_while_it_is_copied_is_looked_at_again(settings: Settings) -> None:
    path = land(settings, "a.csv", HEADER)

    def still_writing(name: str, number: int, files: int) -> None:
        path.write_text(HEADER + LINE)

    assert register_arrivals(settings, on_file=still_writing) == Registration(set_aside=1)
    file = Ledger(settings).files().row(0, named=True)
    assert (file["reason"], file["sha256"]) == ("still_being_written", None)
    assert f"{len(HEADER)} bytes" in file["message"]
    assert kept(settings) == []
    assert registered(settings)[0] == Registration(accepted=1)
    assert Ledger(settings).files()["status"].to_list() == ["accepted"]


def test_a_file_that_goes_away_is_nothing(settings: Settings) -> None:
    path = land(settings, "a.csv", HEADER + LINE)
    assert register_arrivals(settings, on_file=lambda *_: path.unlink()) == Registration()
    assert Ledger(settings).observations.is_empty()


def test_a_fault_of_the_program_is_raised_and_is_no_verdict(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A type that no reader raises for bad bytes.
    def broken(*_: object) -> None:
        raise TypeError("a bug")

    land(settings, "a.csv", HEADER + LINE)
    land(settings, "b.parquet", b"")
    with monkeypatch.context() as patched:
        patched.setattr(landing, "read_rows", broken)
        with pytest.raises(ExceptionGroup) as raised:
            register_arrivals(settings)
    assert raised.value.exceptions[0].__notes__ == ["while registering a.csv"]
    assert Ledger(settings).files()["path"].to_list() == ["b.parquet"]
    assert registered(settings)[0] == Registration(accepted=1)


def test_time_that_is_up_leaves_files_for_the_next_call(settings: Settings) -> None:
    for number in range(3):
        land(settings, f"{number}.csv", lines(f"2010-01-0{number + 1}"))
    assert register_arrivals(settings, time_budget=-1) == Registration(remaining=3)
    assert register_arrivals(settings, time_budget=60) == Registration(accepted=3)


def test_files_are_taken_by_path_with_progress(settings: Settings) -> None:
    for name in ("b.csv", "a/z.csv", "c.csv"):
        land(settings, name, HEADER + LINE)
    calls: list[tuple[str, int, int]] = []
    register_arrivals(settings, on_file=lambda *call: calls.append(call))
    assert sorted(calls, key=lambda call: call[1]) == [("a/z.csv", 1, 3), ("b.csv", 2, 3), ("c.csv", 3, 3)]


def test_rank_is_by_stamp_else_by_modification_time(settings: Settings) -> None:
    land(settings, "a__20100701T000000Z.csv", lines("2010-01-01"), MODIFIED)
    land(settings, "b.csv", lines("2010-01-02"), MODIFIED)
    land(settings, "c.csv", lines("2010-01-03"), MODIFIED + timedelta(days=90))
    _, ledger = registered(settings)
    assert ledger.deliveries()["source_file"].to_list() == ["b.csv", "a__20100701T000000Z.csv", "c.csv"]


def test_parts_of_a_batch_are_one_delivery(settings: Settings) -> None:
    land(settings, "p1__batch-7.csv", lines("2010-01-01"))
    land(settings, "p2__batch-7.csv", lines("2010-01-02"))
    _, ledger = registered(settings)
    assert ledger.deliveries().select("delivery_id", "delivery_rank").rows() == [("7#0", 0)] * 2
    assert bronze(settings).select("delivery_id", "source_file", "source_row").rows() == [
        ("7#0", "p1__batch-7.csv", 1),
        ("7#0", "p2__batch-7.csv", 1),
    ]


def test_the_same_bytes_twice_change_nothing(settings: Settings) -> None:
    land(settings, "a__20100601T000000Z.csv", lines("2010-01-01"))
    registered(settings)
    before, states = bronze(settings), Ledger(settings).day_states()
    land(settings, "again__20100901T000000Z.csv", lines("2010-01-01"))
    assert registered(settings)[0] == Registration(accepted=1)
    assert bronze(settings).equals(before)
    assert Ledger(settings).day_states().equals(states)
    assert len(kept(settings)) == 1


def test_the_same_bytes_with_another_batch_id_are_rows_of_another_delivery(settings: Settings) -> None:
    land(settings, "a__20100601T000000Z.csv", lines("2010-01-01"))
    land(settings, "a__batch-back__20100901T000000Z.csv", lines("2010-01-01"))
    registered(settings)
    sha = kept(settings)[0].name
    assert bronze(settings)["delivery_id"].to_list() == [f"{sha}#0", "back#0"]


def test_content_replaced_or_deleted_in_landing_takes_nothing_away(settings: Settings) -> None:
    path = land(settings, "a.csv", lines("2010-01-01"))
    registered(settings)
    land(settings, "a.csv", lines("2010-01-02"), MODIFIED + timedelta(hours=1))
    registered(settings)
    path.unlink()
    registered(settings)
    assert bronze(settings)["sale_date"].to_list() == [date(2010, 1, 1), date(2010, 1, 2)]


def test_the_order_of_arrival_changes_nothing(settings: Settings) -> None:
    files = {f"f{n}__2010060{1 + n % 3}T000000Z.csv": lines(f"2010-05-{1 + n % 4:02}") for n in range(8)}
    expected: list[pl.DataFrame] = []
    for seed in range(3):
        home = settings.model_copy(update={"home": settings.home / str(seed)})
        for name in Random(seed).sample(sorted(files), len(files)):
            land(home, name, files[name])
            registered(home)
        found = [bronze(home).drop("ingested_at"), Ledger(home).day_states()]
        assert all(mine.equals(its) for mine, its in zip(found, expected or found, strict=True))
        expected = found


def test_rows_without_a_usable_day_are_kept_apart(settings: Settings) -> None:
    days = ("2009-11-30", "2009-12-01", "2010-06-02", "2010-06-03", "soon")
    land(settings, "a.csv", lines(*days), datetime(2010, 6, 1, 23, 59, tzinfo=UTC))
    _, ledger = registered(settings)
    dated = bronze_rows(settings, ledger, *FAR).collect()
    undated = undated_rows(settings, ledger).collect()
    assert sorted(dated["invoice_no"]) == ["2", "3"]
    assert sorted(undated["invoice_no"]) == ["1", "4", "5"]
    assert undated["sale_date"].null_count() == undated["sale_month"].null_count() == 3
    assert undated.filter(pl.col("invoice_no") == "4")["invoiced_at"].to_list() == [datetime(2010, 6, 3, 10)]


def test_bronze_of_a_range_is_half_open_and_opens_no_other_stage(settings: Settings) -> None:
    for day in ("2010-01-01", "2010-01-02", "2010-01-03"):
        land(settings, f"{day}.csv", lines(day))
    _, ledger = registered(settings)
    shutil.rmtree(settings.lake)
    rows = bronze_rows(settings, ledger, date(2010, 1, 1), date(2010, 1, 3)).collect()
    assert sorted(rows["sale_date"]) == [date(2010, 1, 1), date(2010, 1, 2)]
    assert len(list(settings.lake.rglob("*.parquet"))) == 2


def test_bronze_has_the_columns_of_its_contract(settings: Settings) -> None:
    nothing = Ledger(settings)
    assert bronze_rows(settings, nothing, *FAR).collect_schema() == BRONZE_SALES.schema
    land(settings, "a.csv", HEADER + LINE + LINE.replace("2009", "9"))
    _, ledger = registered(settings)
    for rows in (bronze_rows(settings, ledger, *FAR).collect(), undated_rows(settings, ledger).collect()):
        assert rows.height == 1
        assert rows.schema == BRONZE_SALES.schema
        BRONZE_SALES.contract.validate(rows)


def test_a_stage_that_is_gone_is_made_again_from_the_kept_bytes(settings: Settings) -> None:
    land(settings, "a.csv", lines("2010-01-01", "never"))
    registered(settings)
    before = bronze(settings)
    shutil.rmtree(settings.lake)
    shutil.rmtree(settings.landing)
    # A limit that was lowered since does not lose what was accepted.
    assert bronze(settings.model_copy(update={"max_uncompressed_bytes": 1})).equals(before)


def test_kept_bytes_that_are_gone_are_named(settings: Settings) -> None:
    land(settings, "a.csv", HEADER + LINE)
    registered(settings)
    shutil.rmtree(settings.lake)
    (copy,) = kept(settings)
    copy.unlink()
    with pytest.raises(StageError, match=copy.name):
        bronze(settings)


def changed(settings: Settings, old: str, new: str) -> Settings:
    """The platform with a changed packaged mapping."""
    packaged = Path(landing.__file__).with_name("mappings.toml").read_text()
    assert old in packaged
    own = settings.home / "own.toml"
    own.write_text(packaged.replace(old, new))
    return settings.model_copy(update={"mappings": own})


def test_a_changed_mapping_reads_accepted_contents_again(settings: Settings) -> None:
    land(settings, "a.csv", HEADER + LINE.replace("2009-12-01 07:45:00", "3/4/2010 7:45"))
    registered(settings)
    before = Ledger(settings)
    day_first = changed(settings, "%m/%d/%Y", "%d/%m/%Y")
    assert registered(day_first)[0] == Registration()
    after = Ledger(day_first)
    assert [day for day in before.fingerprints()] == [date(2010, 3, 4)]
    assert [day for day in after.fingerprints()] == [date(2010, 4, 3)]
    assert bronze(day_first)["sale_date"].to_list() == [date(2010, 4, 3)]
    assert after.deliveries().equals(before.deliveries())
    assert after.files().height == 1
    registered(day_first)
    assert Ledger(day_first).observations.height == 2


def test_a_changed_mapping_that_no_longer_reads_a_delivery_is_an_error(settings: Settings) -> None:
    land(settings, "a.csv", HEADER + LINE)
    registered(settings)
    with pytest.raises(StageError, match="no longer reads it"):
        register_arrivals(changed(settings, '["StockCode"]', '["Artikel"]'))


def test_killed_between_keeping_and_the_ledger_nothing_is_half_registered(settings: Settings) -> None:
    for number in range(3):
        land(settings, f"{number}.csv", lines(f"2010-01-0{number + 1}"))
    child = process(KILLED_BEFORE_THE_LEDGER, settings)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert len(kept(settings)) == 3
    assert Ledger(settings).observations.is_empty()
    assert registered(settings)[0] == Registration(accepted=3)
    assert bronze(settings)["sale_date"].to_list() == [date(2010, 1, n) for n in (1, 2, 3)]


def test_leftovers_of_a_kill_are_removed_after_a_day(settings: Settings) -> None:
    incoming = settings.deliveries / "bytes" / "incoming"
    incoming.mkdir(parents=True)
    old, new = incoming / "old", incoming / "new"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    register_arrivals(settings)
    assert not old.exists()
    assert new.exists()


def test_two_processes_may_register_the_same_files_at_once(settings: Settings) -> None:
    for number in range(20):
        land(settings, f"{number}.csv", lines(f"2010-01-{number + 1:02}"))
    children = [process(REGISTERED_ONCE, settings) for _ in range(2)]
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors.decode()
    assert registered(settings)[0] == Registration()
    assert sorted(bronze(settings)["sale_date"]) == [date(2010, 1, n) for n in range(1, 21)]
    assert len(kept(settings)) == 20

"""Gold is a function of the set of ranked deliveries: any order, repeats, corrections, bad files and crashes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from retail_platform.contracts import DAY_QUALITY, DIM_PRODUCT, PRODUCT_CATEGORY
from retail_platform.lakehouse import lake
from retail_platform.lakehouse.days import Days, waiting_stretches
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import differences, gold_of, run_lake, whole, write_csv

DAYS = [date(2011, 1, 30), date(2011, 1, 31), date(2011, 2, 1), date(2011, 3, 2)]
STAMPS = [datetime(2011, 3, 5, hour, tzinfo=UTC) for hour in range(24)]

lines = st.tuples(
    st.sampled_from(["540001", "540002", "C540003", "A540004", ""]),
    st.sampled_from(["10002", "85123a ", "POST", "TEST1"]),
    st.sampled_from(["RED HEART", "red  heart", None]),
    st.sampled_from(["1", "-1", "6", "0", "x"]),
    st.sampled_from([*(f"{day} 10:00:00" for day in DAYS), "1.2.2011 08:26", "never", "2031-01-01 00:00:00"]),
    st.sampled_from(["1.25", "2.50", "0", "-3"]),
    st.sampled_from(["13085", "13085.0", "17850", None]),
    st.sampled_from(["United Kingdom", "EIRE", "Atlantis"]),
)
deliveries = st.lists(lines, min_size=1, max_size=5)


class CrashError(Exception):
    """The process ended between two commits."""


@contextmanager
def crashing_after(commits: int) -> Iterator[None]:
    """Fail the Delta write after so many went well, as a kill between two commits does."""
    left = iter(range(commits))

    def write_or_crash(*args: Any, **kwargs: Any) -> None:
        if next(left, None) is None:
            raise CrashError
        write_deltalake(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "write_deltalake", write_or_crash)
        yield


class Deliveries(RuleBasedStateMachine):
    """Small deliveries, in any order; whenever nothing waits any more, gold equals a rebuild from ledger and bytes."""

    warehouse_url: str

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="order-"))
        self.platform = Settings(home=self.folder / "home", mappings=None, database_url=self.warehouse_url)
        self.platform.landing.mkdir(parents=True)
        self.settled: dict[date | None, str] = {}
        self.files = 0

    def name(self, stamp: datetime, batch: str = "") -> Path:
        self.files += 1
        return self.platform.landing / f"s{self.files}{batch}__{stamp:%Y%m%dT%H%M%SZ}.csv"

    @rule(rows=deliveries, stamp=st.sampled_from(STAMPS), batch=st.sampled_from(["", "__batch-1", "__batch-2"]))
    def deliver(self, rows: list[tuple[Any, ...]], stamp: datetime, batch: str) -> None:
        write_csv(self.name(stamp, batch), rows)
        assert register_arrivals(self.platform).accepted == 1

    @precondition(lambda self: self.files > 0)
    @rule(stamp=st.sampled_from(STAMPS))
    def deliver_the_same_bytes_again(self, stamp: datetime) -> None:
        oldest = sorted(self.platform.landing.iterdir())[0]
        shutil.copy(oldest, self.name(stamp))
        register_arrivals(self.platform)

    @rule(content=st.sampled_from([b"", b"Invoice,Price\n1,2\n", b'Invoice\n"broken']))
    def deliver_a_bad_file(self, content: bytes) -> None:
        self.name(STAMPS[0]).write_bytes(content)
        assert register_arrivals(self.platform).set_aside == 1

    @rule(commits=st.integers(min_value=0, max_value=27))
    def crash(self, commits: int) -> None:
        for days in self.waiting()[:1]:
            with crashing_after(commits):
                run_lake(self.platform, days)

    @rule()
    def run_the_newest_days_first(self) -> None:
        self.settle(self.waiting()[::-1])

    @precondition(lambda self: self.files > 0)
    @rule()
    def gold_equals_a_rebuild(self) -> None:
        self.settle(self.waiting())
        fresh = self.platform.model_copy(update={"home": self.folder / f"rebuilt{self.files}"})
        shutil.copytree(self.platform.deliveries, fresh.deliveries)
        for days in waiting_stretches(Ledger(fresh).fingerprints(), {}, fresh.first_day):
            assert run_lake(fresh, days).success
        assert differences(gold_of(self.platform), gold_of(fresh)) == []
        shutil.rmtree(fresh.home)

    def waiting(self) -> list[Days]:
        """The stretches that no successful run has settled, as the arrival sensor sees them."""
        return waiting_stretches(Ledger(self.platform).fingerprints(), self.settled, self.platform.first_day)

    def settle(self, stretches: list[Days]) -> None:
        for days in stretches:
            wanted = Ledger(self.platform).fingerprints()
            assert run_lake(self.platform, days).success
            for day in [None, *days.every()]:
                self.settled.pop(day, None)
                if day in wanted:
                    self.settled[day] = wanted[day]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


def test_gold_is_a_function_of_the_deliveries(database: Database) -> None:
    Deliveries.warehouse_url = database.url()
    bounds = settings(deadline=None, max_examples=6, stateful_step_count=10, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Deliveries, settings=bounds)


def test_a_product_has_the_category_of_its_description_while_that_is_sold(tmp_path: Path, database: Database) -> None:
    platform = Settings(home=tmp_path, mappings=None, database_url=database.url())
    invoices = {"540001": ("10002", "BLUE SPOTTY CUP"), "540002": ("10003", "XQZV"), "540003": ("POST", "POSTAGE")}
    rows = [(no, *sold, "1", f"{DAYS[0]} 10:00:00", "1", None, "EIRE") for no, sold in invoices.items()]
    write_csv(platform.landing / "s1__20110305T000000Z.csv", rows)
    register_arrivals(platform)
    assert run_lake(platform, whole(DAYS)).success
    gold = gold_of(platform)
    assert gold["dim_product"].select("stock_code", "category", "product_family").sort("stock_code").rows() == [
        ("10002", "Dining", "Spotty"),
        ("10003", "unclassified", None),
        ("POST", None, None),
    ]
    assert gold["product_category"]["description"].to_list() == ["BLUE SPOTTY CUP", "XQZV"]
    versions = [lake.Lake(platform.lake).version(table) for table in (PRODUCT_CATEGORY, DIM_PRODUCT)]

    assert run_lake(platform, whole(DAYS)).success
    assert [lake.Lake(platform.lake).version(table) for table in (PRODUCT_CATEGORY, DIM_PRODUCT)] == versions
    write_csv(platform.landing / "s2__20110305T010000Z.csv", [(*rows[1][:3], "0", *rows[1][4:])])
    register_arrivals(platform)
    assert run_lake(platform, whole(DAYS)).success
    assert gold_of(platform)["product_category"].equals(gold["product_category"].head(1))


def test_a_lake_of_before_the_day_counts_gets_them_all(tmp_path: Path, database: Database) -> None:
    """A platform that an older version filled has no gold.day_quality: one run of one day makes it whole."""
    platform = Settings(home=tmp_path, mappings=None, database_url=database.url())
    rows = [
        ("540001", "10002", None, "1", f"{day} 10:00:00", price, None, "EIRE")
        for day, price in zip(DAYS, "1203", strict=True)
    ]
    write_csv(platform.landing / "s1__20110305T000000Z.csv", rows)
    register_arrivals(platform)
    assert run_lake(platform, whole(DAYS)).success
    before = gold_of(platform)
    assert before["day_quality"]["accepted_rows"].to_list() == [1, 1, 0, 1]

    shutil.rmtree(lake.Lake(platform.lake).path(DAY_QUALITY))
    assert run_lake(platform, Days(DAYS[1], DAYS[2])).success
    assert differences(before, gold_of(platform)) == []

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import permutations
from time import perf_counter

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import settings as trial
from hypothesis import strategies as st

from retail_platform.contracts import BRONZE_DAYS
from retail_platform.lakehouse.ledger import COMPACT_FROM, Ledger, Observation
from retail_platform.lakehouse.mapping import MappingError, load_mappings
from retail_platform.settings import Settings

DAY = date(2010, 12, 1)
NOON = datetime(2010, 12, 5, 12, tzinfo=UTC)


def seen(sha: str = "a", at: int = 0, **changes: object) -> Observation:
    """An accepted observation of content `sha`, delivered `at` days after noon of 2010-12-05."""
    when = NOON + timedelta(days=at)
    plain: dict[str, object] = {
        "path": f"{sha}.csv",
        "size": 1,
        "modified_at": when,
        "status": "accepted",
        "registered_at": NOON,
        "parsed_at": NOON,
        "sha256": sha,
        "format": "csv",
        "mapping": "online_retail",
        "mapping_fingerprint": FINGERPRINT,
        "delivered_at": when,
        "rows": 3,
        "days": ((DAY, 2),),
        "undated_rows": 1,
    }
    return Observation(**{**plain, **changes})  # type: ignore[arg-type]


FINGERPRINT = load_mappings(Settings(mappings=None))["online_retail"].fingerprint


@pytest.fixture
def homes(settings: Settings) -> Iterator[Settings]:
    """Settings of ever new, empty platforms."""
    return (settings.model_copy(update={"home": settings.home / str(number)}) for number in range(10**6))


def ledger_of(settings: Settings, *observations: Observation) -> Ledger:
    Ledger(settings).append(observations)
    return Ledger(settings)


def ranks(ledger: Ledger) -> list[tuple[str, int]]:
    return ledger.deliveries().select("delivery_id", "delivery_rank").rows()


def answers(ledger: Ledger) -> list[pl.DataFrame]:
    return [ledger.deliveries(), ledger.delivery_days(), ledger.day_states()]


def test_an_empty_ledger_answers(settings: Settings) -> None:
    ledger = Ledger(settings)
    assert [frame.height for frame in (*answers(ledger), ledger.files())] == [0, 0, 0, 0]
    assert ledger.fingerprints() == {}
    assert ledger.day_states().schema == BRONZE_DAYS.schema


def test_day_states_have_the_columns_of_the_contract(settings: Settings) -> None:
    assert ledger_of(settings, seen()).day_states().schema == BRONZE_DAYS.schema


def test_the_later_delivery_has_the_higher_rank_then_path_then_sheet_then_hash(settings: Settings) -> None:
    ledger = ledger_of(
        settings,
        seen("z", 0),
        seen("b", 1, path="b.csv"),
        seen("c", 1, path="a.csv", sheet_index=1),
        seen("c", 1, path="a.csv", sheet_index=0),
        seen("d", 1, path="a.csv", sheet_index=0),
    )
    assert ranks(ledger) == [("z#0", 0), ("c#0", 1), ("d#0", 2), ("c#1", 3), ("b#0", 4)]
    assert ledger.deliveries().schema["delivery_rank"] == pl.Int32


def test_equal_bytes_again_are_one_delivery_with_the_smallest_rank(settings: Settings) -> None:
    later = seen("a", 9, path="again.csv", registered_at=NOON - timedelta(hours=1))
    ledger = ledger_of(settings, seen("b", 5), later, seen("a", 1))
    assert ranks(ledger) == [("a#0", 0), ("b#0", 1)]
    first = ledger.deliveries().row(0, named=True)
    assert (first["source_file"], first["delivered_at"]) == ("a.csv", NOON + timedelta(days=1))
    assert first["ingested_at"] == NOON - timedelta(hours=1)


def test_equal_bytes_with_another_batch_id_are_another_delivery(settings: Settings) -> None:
    again = [seen("a", at, batch_id="back") for at in (2, 3)]
    ledger = ledger_of(settings, seen("a", 0), seen("b", 1), *again)
    assert ranks(ledger) == [("a#0", 0), ("b#0", 1), ("back#0", 2)]


def test_parts_of_a_batch_are_one_delivery_with_one_rank(settings: Settings) -> None:
    ledger = ledger_of(
        settings, seen("b", 3, batch_id="x"), seen("a", 1, batch_id="x"), seen("c", 2), seen("d", 0, batch_id="y")
    )
    columns = ["delivery_id", "delivery_rank", "file_sha256", "source_file", "delivered_at"]
    assert ledger.deliveries().select(columns).rows() == [
        ("y#0", 0, "d", "d.csv", NOON),
        ("x#0", 1, "a", "a.csv", NOON + timedelta(days=1)),
        ("x#0", 1, "b", "b.csv", NOON + timedelta(days=1)),
        ("c#0", 2, "c", "c.csv", NOON + timedelta(days=2)),
    ]


def test_set_aside_observations_make_no_delivery_but_are_listed(settings: Settings) -> None:
    bad = seen("b", 1, status="set_aside", reason="empty", message="nothing in it", path="b.csv")
    ledger = ledger_of(settings, seen("a"), bad)
    assert ranks(ledger) == [("a#0", 0)]
    assert ledger.files().select("path", "status", "reason").rows() == [
        ("a.csv", "accepted", None),
        ("b.csv", "set_aside", "empty"),
    ]


def test_files_shows_the_newest_observation_of_each_path(settings: Settings) -> None:
    bad = seen("a", status="set_aside", reason="empty")
    good = seen("b", path="a.csv", registered_at=NOON + timedelta(1))
    assert ledger_of(settings, good, bad).files()["sha256"].to_list() == ["b"]


@pytest.mark.parametrize(
    ("offset", "usable"),
    [(-1, True), (0, True), (1, True), (2, False)],
    ids=["day before", "day of delivery", "day after", "two days after"],
)
def test_a_day_later_than_the_day_after_delivery_is_no_day(settings: Settings, offset: int, usable: bool) -> None:
    day = NOON.date() + timedelta(days=offset)
    ledger = ledger_of(settings, seen(days=((day, 2),)))
    expected = [(None, 1), (day, 2)] if usable else [(None, 3)]
    assert ledger.delivery_days().select("sale_date", "rows").rows() == expected


@pytest.mark.parametrize(("offset", "usable"), [(-1, False), (0, True)])
def test_a_day_before_the_first_is_no_day(settings: Settings, offset: int, usable: bool) -> None:
    day = settings.first_day + timedelta(days=offset)
    ledger = ledger_of(settings, seen(days=((day, 2),), undated_rows=0))
    assert ledger.delivery_days()["sale_date"].to_list() == [day if usable else None]


def test_an_earlier_stamp_seen_later_takes_days_away(settings: Settings) -> None:
    day = NOON.date() + timedelta(days=5)
    late, early = seen(at=9, days=((day, 2),)), seen(at=0, path="early.csv", days=((day, 2),))
    ledger = ledger_of(settings, late)
    before = ledger.fingerprints()
    assert set(before) == {day, None}
    ledger.append([early])
    after = Ledger(settings).fingerprints()
    assert set(after) == {None}
    assert after[None] != before[None]


def test_fingerprints_change_with_what_a_day_holds_and_with_nothing_else(homes: Iterator[Settings]) -> None:
    other = ((DAY + timedelta(1), 2),)
    base = [seen("a", 0), seen("b", 2)]

    def prints(*observations: Observation) -> str:
        return ledger_of(next(homes), *observations).fingerprints()[DAY]

    plain = prints(*base)
    assert prints(*base, seen("c", 1, days=other)) == plain  # another day's delivery, ranked between them
    assert prints(*base, seen("a", 1, path="again.csv")) == plain
    assert prints(seen("a", 1), seen("b", 2)) == plain  # another stamp, the same order
    assert prints(seen("a", 3), seen("b", 2)) != plain  # the other order
    assert prints(*base, seen("c", 1)) != plain
    assert prints(seen("a", 0, days=((DAY, 3),)), base[1]) != plain
    assert prints(seen("a", 0, path="renamed.csv"), base[1]) != plain


def test_rules_of_the_mapping_change_the_fingerprint_of_a_day(settings: Settings) -> None:
    ledger_of(settings, seen())
    before = Ledger(settings).fingerprints()
    settings.home.joinpath("own.toml").write_text(_packaged().replace('repeats = "drop"', 'repeats = "keep"'))
    after = Ledger(settings.model_copy(update={"mappings": settings.home / "own.toml"})).fingerprints()
    assert before.keys() == after.keys()
    assert before[DAY] != after[DAY]


def test_a_mapping_that_is_gone_is_named(settings: Settings) -> None:
    ledger = ledger_of(settings, seen(mapping="old_till"))
    with pytest.raises(
        MappingError, match=r"'old_till', which is not among \['online_retail', 'online_retail.corrections'\]"
    ):
        ledger.deliveries()


def test_any_order_of_observations_gives_the_same_answers(homes: Iterator[Settings]) -> None:
    observations = [seen("a", 2), seen("a", 1, path="x.csv"), seen("b", 1, batch_id="k"), seen("c", 1, batch_id="k")]
    first = answers(ledger_of(next(homes), *observations))
    for order in permutations(observations):
        for mine, its in zip(first, answers(ledger_of(next(homes), *order)), strict=True):
            assert mine.equals(its)


@trial(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    observations=st.lists(
        st.builds(
            lambda sha, at, path, batch: seen(sha, at, path=path, batch_id=batch),
            st.sampled_from("abc"),
            st.integers(0, 3),
            st.sampled_from(["p", "q"]),
            st.sampled_from([None, "k", "l"]),
        ),
        min_size=1,
        max_size=8,
    ),
    data=st.data(),
)
def test_the_fold_is_a_function_of_the_set(
    homes: Iterator[Settings], observations: list[Observation], data: st.DataObject
) -> None:
    again = data.draw(st.permutations(observations + data.draw(st.lists(st.sampled_from(observations), max_size=3))))
    expected = answers(ledger_of(next(homes), *observations))
    for mine, its in zip(expected, answers(ledger_of(next(homes), *again)), strict=True):
        assert mine.equals(its)


def test_many_commits_stay_few_files_and_quick(settings: Settings) -> None:
    ledger = Ledger(settings)
    for number in range(COMPACT_FROM + 5):
        ledger.append([seen(f"{number:03}", number)])
    files = DeltaTable(settings.deliveries / "ledger").file_uris()
    assert len(files) < COMPACT_FROM
    assert [sha for sha in Ledger(settings).deliveries()["file_sha256"]] == [f"{n:03}" for n in range(COMPACT_FROM + 5)]


@pytest.mark.slow
def test_two_thousand_deliveries_fold_in_no_time(settings: Settings) -> None:
    days = [DAY - timedelta(days=n % 300) for n in range(2000)]
    ledger = ledger_of(settings, *(seen(f"{n:064}", n % 50, days=((day, 900),)) for n, day in enumerate(days)))
    began = perf_counter()
    assert ledger.day_states()["rows"].sum() == 2000 * 901
    print(f"2,000 deliveries: {perf_counter() - began:.3f} s")


def _packaged() -> str:
    return files("retail_platform.lakehouse").joinpath("mappings.toml").read_text("utf-8")

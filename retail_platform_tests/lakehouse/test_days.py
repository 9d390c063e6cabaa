from datetime import date

import pytest

from retail_platform.lakehouse.days import Days, next_month, settled_states, stretches, waiting_stretches

D = date


def test_stretches_join_neighbours_only() -> None:
    assert stretches([D(2011, 1, 2), D(2011, 1, 1), D(2011, 1, 4), D(2011, 1, 1)]) == [
        Days(D(2011, 1, 1), D(2011, 1, 3)),
        Days(D(2011, 1, 4), D(2011, 1, 5)),
    ]


def test_months_of_a_range_and_around_it() -> None:
    days = Days(D(2011, 1, 31), D(2011, 2, 2))
    assert days.months() == [D(2011, 1, 1), D(2011, 2, 1)]
    assert days.months_around() == [D(2010, 12, 1), D(2011, 1, 1), D(2011, 2, 1), D(2011, 3, 1)]


@pytest.mark.parametrize(("day", "expected"), [(D(2011, 1, 31), D(2011, 2, 1)), (D(2011, 12, 1), D(2012, 1, 1))])
def test_next_month(day: date, expected: date) -> None:
    assert next_month(day) == expected


def test_a_closed_day_does_not_end_a_stretch_but_a_settled_one_does() -> None:
    friday, monday, tuesday, wednesday = D(2011, 1, 7), D(2011, 1, 10), D(2011, 1, 11), D(2011, 1, 12)
    wanted = {friday: "a", monday: "b", tuesday: "c", wednesday: "d"}
    assert waiting_stretches(wanted, {tuesday: "c"}, friday) == [
        Days(friday, tuesday),
        Days(wednesday, D(2011, 1, 13)),
    ]


def test_a_day_that_lost_its_rows_waits() -> None:
    assert waiting_stretches({}, {D(2011, 1, 7): "a"}, D(2009, 12, 1)) == [Days(D(2011, 1, 7), D(2011, 1, 8))]


def test_rows_without_a_day_travel_with_the_newest_day() -> None:
    newest = D(2011, 1, 10)
    wanted = {D(2011, 1, 7): "a", newest: "b", None: "x"}
    present = {D(2011, 1, 7): "a", newest: "b"}
    assert waiting_stretches(wanted, present, D(2009, 12, 1)) == [Days(newest, D(2011, 1, 11))]
    assert waiting_stretches({None: "x"}, {}, D(2009, 12, 1)) == [Days(D(2009, 12, 1), D(2009, 12, 2))]


def test_nothing_waits_when_both_are_equal() -> None:
    assert waiting_stretches({D(2011, 1, 7): "a"}, {D(2011, 1, 7): "a"}, D(2009, 12, 1)) == []


def test_a_published_day_that_the_lake_lost_waits_and_so_does_one_that_lost_its_rows() -> None:
    monday, tuesday, gone = D(2011, 1, 10), D(2011, 1, 11), D(2011, 1, 12)
    published = {monday: "a", tuesday: "b", gone: "c"}
    present = settled_states(published, {monday: "a"})
    assert present == {monday: "a", tuesday: "lost", gone: "lost"}
    assert waiting_stretches({monday: "a", tuesday: "b"}, present, monday) == [Days(tuesday, D(2011, 1, 13))]

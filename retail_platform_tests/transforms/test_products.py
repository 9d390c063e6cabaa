from datetime import date
from decimal import Decimal
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_platform.contracts import DIM_PRODUCT, PRODUCT_CATEGORY
from retail_platform.transforms.products import product_dimension, product_months, product_versions
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.frames import product_month_rows, rows_of, silver_lines

JANUARY, FEBRUARY, MARCH, APRIL = (date(2011, month, 1) for month in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("descriptions", "expected"),
    [
        (["MUG", "CUP", "MUG"], "MUG"),
        (["MUG", "CUP"], "CUP"),
        ([None, None, "MUG"], "MUG"),
        ([None], None),
    ],
    ids=["most frequent", "tie by text", "null does not count", "none"],
)
def test_description_of_a_month(engine: Engine, descriptions: list[str | None], expected: str | None) -> None:
    lines = silver_lines(*({"description": description} for description in descriptions))

    assert rows_of(product_months(engine(lines)), ["description"]) == [(expected,)]


@pytest.mark.parametrize(
    ("prices", "cancelled_prices", "expected"),
    [
        ("3 1 2", "", "2"),
        ("4 1 2 3", "", "2"),
        ("1 1 1 5", "", "1"),
        ("2", "9 9 9", "2"),
        ("", "9", None),
    ],
    ids=["odd", "even takes the lower", "repeated", "cancelled do not count", "only cancelled"],
)
def test_median_price_of_a_month(engine: Engine, prices: str, cancelled_prices: str, expected: str | None) -> None:
    sold = [{"unit_price": int(price)} for price in prices.split()]
    cancelled = [{"unit_price": int(price), "is_cancelled": True} for price in cancelled_prices.split()]
    found = rows_of(product_months(engine(silver_lines(*sold, *cancelled))), ["median_price"])

    assert found == [(Decimal(expected) if expected else None,)]


def test_the_first_day_is_judged_alone(engine: Engine) -> None:
    lines = silver_lines(
        {"sale_date": date(2011, 1, 10), "description": "CUP", "unit_price": 5},
        {"sale_date": date(2011, 1, 20), "description": "MUG", "unit_price": 2},
        {"sale_date": date(2011, 1, 21), "description": "MUG", "unit_price": 2},
        {"sale_date": date(2011, 2, 3), "description": "JUG", "unit_price": 7},
    )
    columns = ["sale_month", "description", "median_price", "first_date", "first_description", "first_price"]

    assert rows_of(product_months(engine(lines)), columns) == [
        (JANUARY, "MUG", 2, date(2011, 1, 10), "CUP", 5),
        (FEBRUARY, "JUG", 7, date(2011, 2, 3), "JUG", 7),
    ]


START = (date(2011, 1, 10), "MUG", Decimal("1.00"))


def month(sale_month: date, description: str | None, price: str | None) -> dict[str, Any]:
    """A month of a code that began on START."""
    return {
        "sale_month": sale_month,
        "description": description,
        "median_price": Decimal(price) if price else None,
        "first_date": max(sale_month, START[0]),
        "first_description": START[1],
        "first_price": START[2],
    }


@pytest.mark.parametrize(
    ("months", "changes"),
    [
        ([(JANUARY, "MUG", "1.00"), (FEBRUARY, "MUG", "1.00")], []),
        ([(JANUARY, "CUP", "1.00")], [(FEBRUARY, "CUP", "1.00")]),
        ([(JANUARY, "MUG", "1.00"), (FEBRUARY, "CUP", "1.00")], [(MARCH, "CUP", "1.00")]),
        ([(JANUARY, None, "1.00"), (FEBRUARY, "MUG", "1.00")], []),
        ([(JANUARY, "MUG", "1.10")], []),
        ([(JANUARY, "MUG", "0.90")], []),
        ([(JANUARY, "MUG", "1.1001")], [(FEBRUARY, "MUG", "1.1001")]),
        ([(JANUARY, "MUG", "0.8999")], [(FEBRUARY, "MUG", "0.8999")]),
        ([(JANUARY, "MUG", "1.09"), (FEBRUARY, "MUG", "1.18"), (MARCH, "MUG", "1.29")], []),
        ([(JANUARY, "MUG", "1.09"), (FEBRUARY, "CUP", "1.09")], [(MARCH, "CUP", "1.00")]),
        ([(JANUARY, "MUG", None), (FEBRUARY, "MUG", "2.00")], [(MARCH, "MUG", "2.00")]),
        ([(JANUARY, "MUG", "2.00"), (MARCH, "MUG", "1.00")], [(FEBRUARY, "MUG", "2.00"), (APRIL, "MUG", "1.00")]),
        ([(JANUARY, "CUP", "2.00")], [(FEBRUARY, "CUP", "2.00")]),
        ([(JANUARY, "MUG", "1.00"), (APRIL, "CUP", "9.00")], []),
    ],
    ids=[
        "nothing changes",
        "the first close renames",
        "a rename",
        "a month without descriptions changes nothing",
        "exactly 10 % up is no change",
        "exactly 10 % down is no change",
        "more than 10 % up",
        "more than 10 % down",
        "a creeping price is compared with the month before",
        "a rename keeps the price in force",
        "a month without uncancelled lines is passed over",
        "a month without lines is passed over",
        "both at once make one version",
        "the open month makes no version",
    ],
)
def test_what_makes_a_version(
    engine: Engine, months: list[tuple[date, str | None, str | None]], changes: list[tuple[date, str, str]]
) -> None:
    versions = product_versions(engine(product_month_rows(*(month(*values) for values in months))), APRIL)
    found = rows_of(versions, ["valid_from", "description", "recommended_price"])

    assert found == [START, *((start, description, Decimal(price)) for start, description, price in changes)]


def test_an_unknown_first_price_and_description_are_judged_when_they_are_known(engine: Engine) -> None:
    months = product_month_rows(
        {"sale_month": JANUARY, "description": None, "median_price": None},
        {"sale_month": FEBRUARY, "description": "MUG", "median_price": 2},
    )
    found = rows_of(product_versions(engine(months), APRIL), ["valid_from", "description", "recommended_price"])

    assert found == [(JANUARY, None, None), (MARCH, "MUG", 2)]


def test_a_code_that_is_no_product_has_one_version_without_a_price(engine: Engine) -> None:
    months = product_month_rows(
        *(
            month(start, name, price) | {"stock_code": "POST", "line_type": "postage"}
            for start, name, price in [(JANUARY, "POSTAGE", "1.00"), (FEBRUARY, "CARRIAGE", "9.00")]
        )
    )
    found = rows_of(product_versions(engine(months), APRIL), ["description", "recommended_price", "valid_to"])

    assert found == [("MUG", None, None)]


def test_versions_follow_each_other(engine: Engine) -> None:
    months = product_month_rows(month(JANUARY, "CUP", "1.00"), month(FEBRUARY, "JUG", "1.00"))
    found = rows_of(product_versions(engine(months), APRIL), ["version", "valid_from", "valid_to", "is_current"])

    assert found == [(1, START[0], FEBRUARY, False), (2, FEBRUARY, MARCH, False), (3, MARCH, None, True)]


def dimension_of(versions: nw.LazyFrame[Any], months: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    months_and_categories = (nw.from_native(frame.lazy()) for frame in (months, categories))
    dimension: pl.DataFrame = product_dimension(versions, *months_and_categories).collect().to_native()
    return dimension.sort("stock_code", "version")


def test_the_dimension_fits_its_contract() -> None:
    months = product_month_rows(month(JANUARY, "CUP", "1.00"), month(FEBRUARY, "JUG", "1.00"))
    summaries = nw.from_native(months.lazy())
    dimension = dimension_of(product_versions(summaries, APRIL), months, PRODUCT_CATEGORY.empty())

    DIM_PRODUCT.contract.validate(dimension)
    assert dimension["version"].to_list() == [1, 2, 3]


def test_a_product_is_what_its_description_says_and_nothing_else_is() -> None:
    codes = {"1": "MUG", "2": "ODD THING", "3": None, "POST": "MUG"}
    versions = pl.DataFrame(
        {
            "stock_code": list(codes),
            "description": list(codes.values()),
            "recommended_price": pl.Series([1, 1, 1, None], dtype=pl.Decimal(18, 4)),
            "valid_from": JANUARY,
            "valid_to": pl.Series([None] * 4, dtype=pl.Date),
            "is_current": True,
            "version": 1,
        }
    )
    months = product_month_rows(
        *({"sale_month": JANUARY, "stock_code": code} for code in "123"),
        {"sale_month": FEBRUARY, "stock_code": "1"},
        {"sale_month": JANUARY, "stock_code": "POST", "line_type": "postage"},
    )
    row = ("MUG", "Dining", "Mugs", 0.9, False, "Maker", "Retrospot")
    categories = pl.DataFrame([row], schema=PRODUCT_CATEGORY.schema, orient="row")

    dimension = dimension_of(nw.from_native(versions.lazy()), months, categories)

    assert dimension.select("stock_code", "category", "subcategory", "brand", "product_family").rows() == [
        ("1", "Dining", "Mugs", "Maker", "Retrospot"),
        ("2", "unclassified", "unclassified", None, None),
        ("3", "unclassified", "unclassified", None, None),
        ("POST", None, None, None, None),
    ]


MONTHS = [date(2010 + n // 12, n % 12 + 1, 1) for n in range(6)]
JUDGED = st.fixed_dictionaries(
    {
        "description": st.sampled_from(["MUG", "CUP", None]),
        "median_price": st.sampled_from([None, *(Decimal(cents) / 100 for cents in (100, 109, 111, 120, 250))]),
    }
)
HISTORIES = st.dictionaries(st.tuples(st.sampled_from("AB"), st.sampled_from(MONTHS)), JUDGED, min_size=1)


def history_rows(history: dict[tuple[str, date], dict[str, Any]]) -> pl.DataFrame:
    """Months whose first day was like the whole of them."""
    return product_month_rows(
        *(
            values
            | {"stock_code": code, "sale_month": start, "first_date": start.replace(day=5)}
            | {"first_description": values["description"], "first_price": values["median_price"]}
            for (code, start), values in history.items()
        )
    )


@settings(max_examples=40, deadline=None)
@given(HISTORIES)
def test_intervals_neither_overlap_nor_leave_holes(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    versions = product_versions(nw.from_native(months.lazy()), MONTHS[-1]).collect().to_native()

    for (code,), rows in versions.sort("valid_from").group_by("stock_code", maintain_order=True):
        assert rows["valid_from"][0] == months.filter(pl.col("stock_code") == code)["first_date"].min()
        assert rows["valid_to"].to_list() == [*rows["valid_from"].to_list()[1:], None]
        assert rows["valid_from"].is_unique().all()
        assert rows["is_current"].to_list() == [False] * (rows.height - 1) + [True]
        assert rows["version"].to_list() == list(range(1, rows.height + 1))
    assert set(versions["stock_code"]) == set(months["stock_code"])


@settings(max_examples=40, deadline=None)
@given(HISTORIES)
def test_the_open_month_changes_no_version(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    closed = months.filter(pl.col("sale_month") < MONTHS[-1])
    before = product_versions(nw.from_native(closed.lazy()), MONTHS[-1]).collect().to_native()
    after = product_versions(nw.from_native(months.lazy()), MONTHS[-1]).collect().to_native()

    known = after.join(closed.select("stock_code").unique(), on="stock_code", how="semi")
    assert_frame_equal(known, before, check_row_order=False)

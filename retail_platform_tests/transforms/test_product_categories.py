from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_platform.contracts import PRODUCT_CATEGORY
from retail_platform.transforms.product_categories import (
    product_categories,
    product_descriptions,
    revenue_by_description,
)
from retail_platform_tests.transforms.frames import product_month_rows

JANUARY, FEBRUARY = date(2011, 1, 1), date(2011, 2, 1)
NAMES = pl.DataFrame({"name": ["Retrospot"], "pattern": [r"\bRETROSPOT\b"]})
MAKERS = pl.DataFrame({"name": ["Maker"], "pattern": [r"\bRED\b"]})
NOTHING = PRODUCT_CATEGORY.empty()


def texts(*descriptions: str) -> pl.DataFrame:
    return pl.DataFrame({"description": descriptions}, schema={"description": pl.String})


def by_last_word(descriptions: pl.Series) -> pl.DataFrame:
    """Stands for a classifier: the category is the last word."""
    word = descriptions.str.split(" ").list.last()
    columns = {"category": word, "subcategory": word, "category_confidence": 0.5, "is_labelled": False}
    return pl.select(description=descriptions, **columns)


def never(descriptions: pl.Series) -> pl.DataFrame:
    raise AssertionError(f"nothing was to be classified: {descriptions}")


def test_descriptions_are_those_a_version_may_have_of_products_alone() -> None:
    months = product_month_rows(
        {"sale_month": JANUARY, "description": "RED MUG", "first_description": "MUG"},
        {"sale_month": FEBRUARY, "description": "RED MUG", "first_description": None},
        {"sale_month": JANUARY, "stock_code": "POST", "line_type": "postage", "description": "POSTAGE"},
    )

    assert product_descriptions(months)["description"].to_list() == ["MUG", "RED MUG"]


def test_a_description_is_classified_and_named() -> None:
    found = product_categories(texts("RED MUG", "RETROSPOT MUG"), NOTHING, by_last_word, MAKERS, NAMES)

    PRODUCT_CATEGORY.contract.validate(found)
    assert found.rows() == [
        ("RED MUG", "MUG", "MUG", 0.5, False, "Maker", None),
        ("RETROSPOT MUG", "MUG", "MUG", 0.5, False, None, "Retrospot"),
    ]


@pytest.mark.parametrize("before", [("A MUG", "C CUP"), ("B JUG",), ("A MUG", "B JUG", "C CUP", "GONE BOWL"), ()])
def test_what_was_known_before_makes_no_difference(before: tuple[str, ...]) -> None:
    now = texts("A MUG", "B JUG", "C CUP")
    known = product_categories(texts(*before), NOTHING, by_last_word, NAMES, NAMES)

    found = product_categories(now, known, by_last_word, NAMES, NAMES)

    assert_frame_equal(found, product_categories(now, NOTHING, by_last_word, NAMES, NAMES), check_exact=True)


def test_nothing_new_asks_no_classifier() -> None:
    known = product_categories(texts("A MUG", "B JUG"), NOTHING, by_last_word, NAMES, NAMES)

    assert product_categories(texts("B JUG"), known, never, NAMES, NAMES)["description"].to_list() == ["B JUG"]
    assert product_categories(texts(), NOTHING, never, NAMES, NAMES).is_empty()


def test_revenue_goes_by_the_description_of_its_month() -> None:
    months = product_month_rows(
        {"sale_month": JANUARY, "description": "RED MUG"},
        {"sale_month": FEBRUARY, "description": "ODD"},
        {"sale_month": FEBRUARY, "stock_code": "2", "description": None},
    )
    revenue = pl.DataFrame(
        [(JANUARY, "84077", Decimal(7)), (FEBRUARY, "84077", Decimal(2)), (FEBRUARY, "2", Decimal(1))],
        schema={"sale_month": pl.Date, "stock_code": pl.String, "line_amount": pl.Decimal(18, 4)},
        orient="row",
    )
    known = product_categories(texts("RED MUG"), NOTHING, by_last_word, NAMES, NAMES)

    assert revenue_by_description(revenue, months, known).rows() == [
        ("RED MUG", "MUG", 7),
        ("ODD", "unclassified", 2),
        (None, "unclassified", 1),
    ]

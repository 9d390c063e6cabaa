"""Cursors as they come from outside."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from retail_platform.serving.catalogue import read_catalogue
from retail_platform.serving.query.cursors import full_sort, read_cursor, signature
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.shapes import Sort

CATALOGUE = read_catalogue()
TABLE = CATALOGUE["dim_country"]
SORT = full_sort(TABLE, [Sort(("population",), True)])


def cursor(*place: Any) -> str:
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def test_the_key_is_appended_in_the_direction_of_the_last_column() -> None:
    assert full_sort(TABLE, SORT[:1]) == (Sort(("population",), True), Sort(("country_key",), True))
    assert full_sort(TABLE, SORT) == SORT
    assert full_sort(TABLE, ()) == (Sort(("country_key",)),)


def test_a_cursor_is_a_place_in_the_order() -> None:
    here = signature("dim_country", SORT)
    assert read_cursor(TABLE, SORT, cursor(here, None, 3), "after", CATALOGUE) == ((True, False), (3,))
    assert read_cursor(TABLE, SORT, cursor(here, 10, 3), "after", CATALOGUE) == ((False, False), (10, 3))


@pytest.mark.parametrize("sort", [(), SORT[1:], (Sort(("population",)), *SORT[1:])])
def test_a_cursor_of_another_order_is_refused(sort: tuple[Sort, ...]) -> None:
    with pytest.raises(QuestionError, match="after: is a cursor of another table or order"):
        read_cursor(TABLE, SORT, cursor(signature("dim_country", sort), 10, 3), "after", CATALOGUE)
    with pytest.raises(QuestionError, match="another table"):
        read_cursor(TABLE, SORT, cursor(signature("fact_sale", SORT), 10, 3), "after", CATALOGUE)


@pytest.mark.parametrize(
    "text",
    ["", "a", "é", "!!", "\0", "bm8", cursor(), cursor({}), cursor(*[[]] * 1000), "W1tb" * 1000, "x" * 5000,
     cursor(signature("dim_country", SORT)),
     cursor(signature("dim_country", SORT), 1, 2, 3),
     cursor(signature("dim_country", SORT), "x'; --", 3),
     cursor(signature("dim_country", SORT), 1e400, 3),
     cursor(signature("dim_country", SORT), {}, 3),
     cursor(signature("dim_country", SORT), 1, None)],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(QuestionError, match=r"^after: "):
        read_cursor(TABLE, SORT, text, "after", CATALOGUE)

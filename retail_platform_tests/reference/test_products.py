import re

import polars as pl
import pytest

from retail_platform.reference.products import (
    read_product_brands,
    read_product_families,
    read_product_labels,
)
from retail_platform.settings import CHECKOUT
from retail_platform.transforms.categories import UNCLASSIFIED, with_parts

LABELS = read_product_labels()
TAXONOMY = pl.read_csv(CHECKOUT / "dbt_project" / "seeds" / "product_taxonomy.csv")


def test_a_subcategory_is_in_one_category_and_says_what_belongs_there() -> None:
    assert TAXONOMY["subcategory"].is_unique().all()
    assert TAXONOMY.null_count().row(0) == (0, 0, 0)
    assert UNCLASSIFIED not in TAXONOMY["category"]


def test_labels_are_enough_and_each_description_has_one() -> None:
    assert len(LABELS) >= 600
    assert LABELS["description"].is_unique().all()
    assert sum(LABELS.null_count().row(0)) == 0


def test_every_label_is_in_the_taxonomy_and_every_subcategory_has_ten() -> None:
    pairs = ["category", "subcategory"]
    assert LABELS.join(TAXONOMY, on=pairs, how="anti").is_empty()
    counts = TAXONOMY.join(LABELS.group_by(pairs).len(), on=pairs, how="left")
    assert counts.filter(pl.col("len").fill_null(0) < 10)["subcategory"].to_list() == []


def test_a_fifth_is_set_aside_by_the_hash_of_the_description() -> None:
    assert LABELS["is_set_aside"].mean() == pytest.approx(0.2, abs=0.02)
    assert with_parts(LABELS)["is_set_aside"].equals(LABELS["is_set_aside"])


def test_how_a_label_was_picked_is_said() -> None:
    assert set(LABELS["picked_by"]) == {"revenue", "random", "hard"}


@pytest.mark.parametrize("rules", [read_product_brands(), read_product_families()], ids=["brands", "families"])
def test_names_are_unique_and_their_patterns_expect_upper_case(rules: pl.DataFrame) -> None:
    assert rules.to_series(0).is_unique().all()
    assert sum(rules.null_count().row(0)) == 0
    assert [pattern for pattern in rules["pattern"] if re.search(r"(?<!\\)[a-z]", pattern)] == []

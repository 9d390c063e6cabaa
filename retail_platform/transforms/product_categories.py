"""The table `product_category`: which descriptions it holds, and what is said of each; the share of revenue it covers.

How a description is classified stays out (`categories.py`), and so do the patterns of names (`product_names.py`).
"""

from collections.abc import Callable

import polars as pl

from retail_platform.contracts import PRODUCT_CATEGORY
from retail_platform.transforms.categories import UNCLASSIFIED
from retail_platform.transforms.product_names import named

Classify = Callable[[pl.Series], pl.DataFrame]
"""Descriptions -> `categories.classify` of them."""


def product_descriptions(months: pl.DataFrame) -> pl.DataFrame:
    """Every description that a version of a product may have.

    Args:
        months: product months (contract `ProductMonths`), all of them.

    Returns:
        One row per description, ordered by it.
    """
    products = months.filter(pl.col("line_type") == "product")
    texts = pl.concat([products["description"], products["first_description"].alias("description")])
    return texts.drop_nulls().unique().sort().to_frame()


def product_categories(
    descriptions: pl.DataFrame, known: pl.DataFrame, classify: Classify, brands: pl.DataFrame, families: pl.DataFrame
) -> pl.DataFrame:
    """What is known of the descriptions, and what is found of the others; as if all had been classified now.

    Args:
        descriptions: made by `product_descriptions`.
        known: rows of the table that the same labels, names and classifier made.
        classify: asked only when there is a description that is not known.
        brands: the packaged brands.
        families: the packaged families.

    Returns:
        Contract `ProductCategory`, ordered by description.
    """
    kept = known.join(descriptions, on="description", how="semi")
    new = descriptions.join(known, on="description", how="anti")
    if new.is_empty():
        return kept.sort("description")
    text = pl.col("description")
    found = classify(new["description"]).with_columns(brand=named(text, brands), product_family=named(text, families))
    return pl.concat([kept, found.select(*PRODUCT_CATEGORY.schema)]).sort("description")


def revenue_by_description(revenue: pl.DataFrame, months: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """What each description of a product sold for, and where it belongs.

    Args:
        revenue: the amount of product lines by month and code: sale_month, stock_code, line_amount.
        months: product months (contract `ProductMonths`) of those months; a code goes by its description of the month.
        categories: contract `ProductCategory`.

    Returns:
        One row per description (null: none was given): description, category, line_amount; the largest amount first.
    """
    described = revenue.join(months, on=["sale_month", "stock_code"], how="left")
    summed = described.group_by("description").agg(pl.col("line_amount").sum())
    joined = summed.join(categories, on="description", how="left")
    category = pl.col("category").fill_null(UNCLASSIFIED)
    return joined.select("description", category, "line_amount").sort("line_amount", "description", descending=True)

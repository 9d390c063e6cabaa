"""Packaged tables about products: labelled descriptions, and the names of brands and families.

How they were made is in docs/categories.md; the taxonomy that labels are held to is a seed of the dbt project. Only the
reading lives here; what is made of the tables is in `transforms/categories.py` and `transforms/product_names.py`.
"""

from hashlib import sha256
from importlib.resources import files

import polars as pl

_LABELS = pl.Schema(
    {
        "description": pl.String(),
        "category": pl.String(),
        "subcategory": pl.String(),
        "picked_by": pl.String(),
        "is_set_aside": pl.Boolean(),
    }
)
_BRANDS = pl.Schema({"brand": pl.String(), "pattern": pl.String()})
_FAMILIES = pl.Schema({"family": pl.String(), "pattern": pl.String()})


def read_product_labels() -> pl.DataFrame:
    """Descriptions and where they belong, labelled one by one, each once.

    Returns:
        description, category and subcategory of the taxonomy, picked_by (`revenue`: among the best sellers, `random`:
        by hash among the others, `hard`: what an earlier model knew least) and is_set_aside (never trained on).
    """
    return _read("product_labels.csv", _LABELS)


def read_product_brands() -> pl.DataFrame:
    """Makers' and licensed names, with the pattern of an upper-case description that names each."""
    return _read("product_brands.csv", _BRANDS)


def read_product_families() -> pl.DataFrame:
    """Designs and ranges shared by several products, with their pattern; the first that matches counts."""
    return _read("product_families.csv", _FAMILIES)


def product_tables_fingerprint() -> str:
    """The SHA-256 of labels, brands and families: another one, and what was made of them is out of date."""
    return sha256(b"".join(_bytes(f"product_{name}.csv") for name in ("labels", "brands", "families"))).hexdigest()


def _read(name: str, schema: pl.Schema) -> pl.DataFrame:
    return pl.read_csv(_bytes(name), schema=schema)


def _bytes(name: str) -> bytes:
    return files("retail_platform.reference").joinpath(name).read_bytes()

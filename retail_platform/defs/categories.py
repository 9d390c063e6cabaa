"""Categories of products as an asset: what is new is classified, and how good the classifier is is told with it."""

import json
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import PRODUCT_CATEGORY, PRODUCT_MONTHS, SILVER_SALES
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.reports import BLOCKING, check_specs, markdown_table, require, result_of, written
from retail_platform.lakehouse.lake import Lake
from retail_platform.reference.products import (
    product_tables_fingerprint,
    read_product_brands,
    read_product_families,
    read_product_labels,
)
from retail_platform.transforms.categories import Classifier, classify, figures, train
from retail_platform.transforms.product_categories import (
    product_categories,
    product_descriptions,
    revenue_by_description,
)
from retail_platform.transforms.quality import (
    Finding,
    contract_holds,
    keys_are_unique,
    revenue_is_classified,
    set_aside_accuracy_holds,
)

CATEGORIES = key_of(PRODUCT_CATEGORY)
REVENUE_MONTHS = 12
"""Newest months whose revenue is looked at: so many, however long the history is."""
RULES = ("categories.py", "product_names.py")
"""Modules of `transforms/` that decide what is said of a description."""


@dg.multi_asset(
    name="product_category",
    specs=[table_spec(PRODUCT_CATEGORY, key_of(PRODUCT_MONTHS), key_of(SILVER_SALES))],
    check_specs=[
        *check_specs(CATEGORIES, *BLOCKING),
        *check_specs(CATEGORIES, "set_aside_accuracy_holds", "revenue_is_classified", blocking=False),
    ],
    pool=LAKE_POOL,
)
def product_category(lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Classify the descriptions that are new, or all when labels, names or rules changed since."""
    fingerprint, model = _fingerprint(), json.loads(lake.note(PRODUCT_CATEGORY) or "{}")
    is_new = model.get("fingerprint") != fingerprint
    known = PRODUCT_CATEGORY.empty() if is_new else lake.scan(PRODUCT_CATEGORY).collect()
    if is_new:
        model = {"fingerprint": fingerprint, **_trained()}
    months = lake.scan(PRODUCT_MONTHS).collect()
    frame = product_categories(
        product_descriptions(months),
        known,
        lambda new: classify(_classifier(model["temperature"]), read_product_labels(), new),
        read_product_brands(),
        read_product_families(),
    )
    yield from require(CATEGORIES, [contract_holds(PRODUCT_CATEGORY, frame), keys_are_unique(PRODUCT_CATEGORY, frame)])
    yield result_of(set_aside_accuracy_holds(model["set_aside"], is_new), CATEGORIES)
    added, newest = len(frame.join(known, on="description", how="anti")), str(lake.months(SILVER_SALES)[-1:])
    if added or model.get("revenue", {}).get("newest") != newest:  # a day more of the open month hardly moves it
        model["revenue"] = {"newest": newest, **_noted(revenue_by_description(_revenue(lake), months, frame))}
    finding = _found(model["revenue"])
    yield result_of(finding, CATEGORIES, dg.AssetCheckSeverity.WARN)

    delta_version = lake.replace(PRODUCT_CATEGORY, frame, note=json.dumps(model))
    told = {"classified": added, "revenue_classified_pct": finding.evidence["classified_pct"], **_told(model)}
    yield written(lake, PRODUCT_CATEGORY, frame, delta_version, **told)


def _noted(revenue: pl.DataFrame) -> dict[str, Any]:
    """What is found of the revenue of descriptions, as a note can hold it."""
    finding = revenue_is_classified(revenue)
    evidence = {**finding.evidence, "unclassified": finding.evidence["unclassified"].cast(pl.String).to_dicts()}
    return {"passed": finding.passed, "said": finding.description, "evidence": evidence}


def _found(noted: dict[str, Any]) -> Finding:
    """The finding that was noted."""
    rows = pl.DataFrame(noted["evidence"]["unclassified"], {"description": pl.String, "line_amount": pl.String})
    return Finding(
        revenue_is_classified.__name__, noted["passed"], noted["said"], noted["evidence"] | {"unclassified": rows}
    )


def _fingerprint() -> str:
    """What a guess depends on besides the description: tables, rules and the library that learns."""
    rules = (files("retail_platform.transforms").joinpath(name).read_bytes() for name in RULES)
    parts = [product_tables_fingerprint().encode(), version("scikit-learn").encode(), *rules]
    return sha256(b"\0".join(parts)).hexdigest()


@cache
def _classifier(temperature: float | None = None) -> Classifier:
    """Trained once a process: the labels are a part of the package. The temperature is looked for when it is None."""
    return train(read_product_labels(), temperature)


@cache
def _trained() -> dict[str, Any]:
    """What is noted of a classifier: the temperature it found, and how good it is."""
    return {"temperature": _classifier().temperature, **figures(_classifier(), read_product_labels())}


def _revenue(lake: Lake) -> pl.DataFrame:
    """The amount of product lines by month and code, of the newest months."""
    lines = lake.scan_months(SILVER_SALES, lake.months(SILVER_SALES)[-REVENUE_MONTHS:])
    products = lines.filter(pl.col("line_type") == "product")
    return products.group_by("sale_month", "stock_code").agg(pl.col("line_amount").sum()).collect()


def _told(model: dict[str, Any]) -> dict[str, Any]:
    """How good the classifier is: each figure by itself, for a plot over time, and the confusions as a table."""
    told: dict[str, Any] = {}
    for part in ("cross_validation", "set_aside"):
        numbers = dict(model[part])
        confusions = pl.DataFrame(numbers.pop("confusions"))
        told |= {f"{part}/{name}": value for name, value in numbers.items()}
        told[f"{part}/confusions"] = dg.MetadataValue.md(markdown_table(confusions))
    return told

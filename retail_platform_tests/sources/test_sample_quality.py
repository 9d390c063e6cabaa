"""No generated sample, of whatever size, holds itself back."""

from datetime import UTC, datetime
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts import BRONZE_SALES
from retail_platform.lakehouse.mapping import load_mappings
from retail_platform.reference import read_country_aliases
from retail_platform.settings import Settings
from retail_platform.sources.sample import write_sample
from retail_platform.transforms import outliers, scores
from retail_platform.transforms.countries import alias_keys, unplaced_lines
from retail_platform.transforms.sales import judge_sales, silver_lines, silver_rejects

NAMES = ("invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "customer_id", "country")
MARGIN = 8
"""Points above the threshold; being late alone would take ten."""


def delivered(path: Path) -> pl.DataFrame:
    """The rows of a file as bronze holds them, with the time of their delivery."""
    read = pl.read_csv(path, infer_schema=False, new_columns=NAMES)
    sold = pl.col("invoice_date").str.to_datetime("%Y-%m-%d %H:%M:%S")
    stamp = datetime.strptime(path.stem.split("__")[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    names = (pl.lit(path.name).alias(name) for name in ("delivery_id", "file_sha256", "source_file"))
    rows = read.with_columns(
        *names, invoiced_at=sold, sale_date=sold.dt.date(), source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )
    nothing = (pl.lit(None, dtype).alias(name) for name, dtype in BRONZE_SALES.schema.items() if name not in rows)
    return rows.with_columns(*nothing).select(*BRONZE_SALES.schema, delivered_at=pl.lit(stamp))


def scored(folder: Path, lines: int, seed: int) -> pl.DataFrame:
    """The scores of a sample's days with enough rows to hold something back."""
    mapping = load_mappings(Settings(mappings=None))["online_retail"]
    rows = pl.concat(delivered(path) for path in write_sample(folder, lines, seed=seed))
    keys = ("delivery_id", "file_sha256")
    ranks = rows.select(*keys).unique(maintain_order=True).with_row_index("delivery_rank")
    named = ranks.with_columns(pl.col("delivery_rank").cast(pl.Int64), mapping=pl.lit(mapping.name))
    bronze = nw.from_native(rows.drop("delivered_at").lazy())
    judged = nw.from_native(
        judge_sales(bronze, nw.from_native(named.lazy()), {mapping.name: mapping}).to_native().collect().lazy()
    )
    accepted, rejects = silver_lines(judged).to_native(), silver_rejects(judged).to_native()
    products = accepted.filter(pl.col("line_type") == "product")
    bands = outliers.product_bands(products)
    standing = scores.standing_rejects(accepted, rejects, named)
    spellings = nw.from_native(alias_keys(read_country_aliases()).lazy())
    held = rows.group_by("sale_date", "delivery_id").agg(rows=pl.len())
    counted = scores.sales_counts(
        accepted.group_by("sale_date").agg(accepted_rows=pl.len().cast(pl.Int64)).collect(),
        standing,
        scores.missing_values(scores.delivered_values(accepted, standing.lazy()), scores.REQUIRED),
        scores.outlier_values(products, bands, outliers.flagged_lines(products, bands)),
        scores.unrelated_values(
            accepted.with_columns(date_key=1),
            ("date_key",),
            unplaced_lines(nw.from_native(accepted), spellings).to_native(),
        ),
        scores.delivery_hours(held, rows.select("delivery_id", "delivered_at").unique()),
    )
    return scores.scored(counted).filter(pl.col("checked_rows") >= 50)


@pytest.mark.parametrize(
    ("lines", "seed"), [(10_000, 1), (20_000, 1), (20_000, 2), (30_000, 1), (30_000, 3), (50_000, 1), (100_000, 1)]
)
def test_a_sample_is_published_by_a_wide_margin(tmp_path: Path, lines: int, seed: int) -> None:
    found = scored(tmp_path, lines, seed)
    assert found.height > 20
    assert found["total_score"].min() >= scores.THRESHOLDS["total"] + MARGIN

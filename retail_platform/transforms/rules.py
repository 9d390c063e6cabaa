"""Whether the declared rules of sale lines that drop no row hold, each a check with the rows that break it.

The rules are declared in `contracts/rules.py`; those that drop rows are applied in `sales.py`.
"""

from collections.abc import Sequence

import narwhals as nw
import polars as pl

from retail_platform.contracts.rules import Rule
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

FEWEST_ROWS = 20
"""Of fewer rows a day, a share that a rule tolerates says nothing."""
ORIGIN = ("source_file", "source_sheet", "source_row", "sale_date")
IN_FILE_ORDER = ("sale_date", "source_file", "file_sha256", "source_sheet", "source_row")


def rules_hold(judged: pl.DataFrame, rules: Sequence[Rule]) -> list[Finding]:
    """Whether each rule holds on every day.

    Args:
        judged: the rows of whole days, of `judge_sales`; those without a day are left out.
        rules: rules that warn (judged on the accepted lines) or fail (on every row that is not restated).

    Returns:
        A finding for each rule, under its name and in the order given.
    """
    rows = judged.lazy().filter(pl.col("sale_date").is_not_null())
    concerned = pl.sum_horizontal(concerns(rule).sum().alias(rule.name) for rule in rules)
    broken = nw.from_native(rows).select(
        *(
            nw.col("sale_date"),
            nw.col("reason").is_null().alias("is_line"),
        ),
    )
    raise NotImplementedError

"""What compaction and sorting are worth: the layout advisor on months of a loaded lake, laid badly on purpose.

    python -m retail_platform_tests.benchmarks.layout .retail/lake

Copies four months of silver and facts as daily runs leave them, and one month 33 times over in mixed order, into a
temporary folder, and prints what the advisor says, applies, and says afterwards.
"""

import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import polars as pl

from retail_platform.contracts import FACT_SALE, SILVER_SALES
from retail_platform.lakehouse.days import ONE_DAY, Days, next_month
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.layout import Advice, advise

MONTHS = [date(2011, month, 1) for month in (8, 9, 10, 11)]
TABLES = (SILVER_SALES, FACT_SALE)
TIMES = 33


def daily_files(source: Lake, lake: Lake) -> None:
    """The months, a commit a day."""
    for table in TABLES:
        for month in MONTHS:
            rows = source.scan_months(table, [month]).collect()
            for day in rows["sale_date"].unique().sort():
                lake.replace_days(table, rows.filter(pl.col("sale_date") == day), [Days(day, day + ONE_DAY)])


def mixed_month(source: Lake, lake: Lake) -> None:
    """The last month but one many times over, in no order; and the last one, so that it is closed."""
    closed, open_month = MONTHS[-2:]
    rows = pl.concat([source.scan_months(SILVER_SALES, [closed]).collect()] * TIMES)
    mixed = rows.sample(fraction=1, shuffle=True, seed=1)
    lake.replace_days(SILVER_SALES, mixed, [Days(closed, open_month)])
    newest = source.scan_months(SILVER_SALES, [open_month]).collect()
    lake.replace_days(SILVER_SALES, newest, [Days(open_month, next_month(open_month))])


def show(title: str, found: Iterable[Advice]) -> None:
    """Print advice."""
    print(f"\n{title}")
    for each in found:
        print("  " + ", ".join(f"{name}: {value}" for name, value in each.row.items() if value is not None))


def main(source: Lake) -> None:
    for title, lay in (("A file a day", daily_files), (f"A month {TIMES} times over, mixed", mixed_month)):
        with tempfile.TemporaryDirectory(prefix="retail-layout-") as folder:
            lake = Lake(Path(folder))
            lay(source, lake)
            started = time.process_time()
            show(title, advise(lake, TABLES, apply=True))
            print(f"  advice and work: {time.process_time() - started:.1f} CPU seconds")
            show("Afterwards", advise(lake, TABLES))


if __name__ == "__main__":
    main(Lake(Path(sys.argv[1])))

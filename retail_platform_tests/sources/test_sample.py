"""A generated sample has the size, quirks and proportions that were asked for, and comes the same way twice."""

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts.gold import SEGMENTS
from retail_platform.sources import proportions
from retail_platform.sources.sample import COMPLETE_FROM, Span, write_sample
from retail_platform.transforms.customers import customer_months, score_customers

MEASURES = {
    "lines_per_invoice": "select count(*) / count(distinct invoice) from lines",
    "cancelled_lines": "select avg((invoice like 'C%')::int) from lines",
    "guests_lines": "select avg((customer is null)::int) from lines",
    "without_description": "select avg((description is null)::int) from lines",
    "zero_prices": "select avg((price = 0)::int) from lines",
    "negative_quantities": "select avg((quantity < 0)::int) from lines",
    "repeats": "select (count(*) - count(distinct lines)) / count(*) from lines",
    "united_kingdom": "select avg((country = 'United Kingdom')::int) from lines",
    "codes_with_letters": "select avg(regexp_full_match(code, '[0-9]{5}[A-Za-z]+')::int) from lines",
    "lower_case_codes": "select avg(regexp_full_match(code, '[0-9]{5}[a-z]+')::int) from lines",
    "postage": "select avg((code in ('POST', 'DOT', 'C2'))::int) from lines",
    "manual": "select avg((code = 'M')::int) from lines",
    "trailing_spaces": "select avg((rtrim(description) <> description)::int) from lines",
    "doubled_spaces": "select avg((trim(description) like '%  %')::int) from lines",
    "quantity_median": "select median(quantity) from lines where quantity > 0 and customer is not null",
    "quantity_p95": "select quantile_cont(quantity, 0.95) from lines where quantity > 0 and customer is not null",
    "price_median": "select median(price) from lines where price > 0",
    "price_p90": "select quantile_cont(price, 0.9) from lines where price > 0",
    "guests_price_median": "select median(price) from lines where price > 0 and customer is null",
    "customers_per_1000_lines": "select 1000 * count(distinct customer) / count(*) from lines",
    "customers_who_buy_once": "select avg((orders = 1)::int) from buyers",
    "orders_of_the_first_tenth": "select sum(orders) filter (rank <= 0.1) / sum(orders) from buyers",
    "spent_by_the_first_tenth": "select sum(spent) filter (spent_rank <= 0.1) / sum(spent) from buyers",
    "november_to_february": "select sum((month(sold_at) = 11)::int) / sum((month(sold_at) = 2)::int) from lines",
    "on_sundays": "select avg((dayofweek(sold_at) = 0)::int) from lines",
    "before_ten": "select avg((hour(sold_at) < 10)::int) from lines",
    "cancellations_of_a_sale": """
        select avg(exists(
            select 1 from lines s where s.customer = c.customer and s.code = c.code and s.quantity >= -c.quantity
            and s.sold_at <= c.sold_at and s.invoice not like 'C%'
        )::int) from lines c where c.invoice like 'C%' and c.quantity < 0""",
    "renamed_products": """
        select avg((names > 1)::int) from (
            select count(distinct trim(description)) as names from lines
            where regexp_matches(code, '^[0-9]{5}') and price > 0 group by upper(code))""",
}

# Of the real data (see `proportions.py` for what was counted), and the tolerance at 100,000 lines, as a share of it.
# Wide where few lines or customers decide: 5,000 invoices, 190 of them with half the guests' lines, 560 customers.
EXPECTED = {
    "lines_per_invoice": (19.48, 0.15),
    "cancelled_lines": (0.0183, 0.25),
    "guests_lines": (0.2252, 0.25),
    "without_description": (0.0041, 0.25),
    "zero_prices": (0.0058, 0.25),
    "negative_quantities": (0.0216, 0.25),
    "repeats": (0.0113, 0.4),
    "united_kingdom": (0.9188, 0.03),
    "codes_with_letters": (0.1208, 0.25),
    "lower_case_codes": (0.0031, 0.4),
    "postage": (0.0036, 0.3),
    "manual": (0.00134, 0.2),
    "trailing_spaces": (0.1988, 0.2),
    "doubled_spaces": (0.0457, 0.3),
    "quantity_median": (5, 0.25),
    "quantity_p95": (36, 0.4),
    "price_median": (2.1, 0.2),
    "price_p90": (7.95, 0.2),
    "guests_price_median": (3.36, 0.25),
    "customers_per_1000_lines": (5.69, 0.15),
    "customers_who_buy_once": (0.276, 0.25),
    "orders_of_the_first_tenth": (0.470, 0.2),
    "spent_by_the_first_tenth": (0.638, 0.2),
    "november_to_february": (2.85, 0.3),
    "on_sundays": (0.131, 0.15),
    "before_ten": (0.0805, 0.3),
    "cancellations_of_a_sale": (0.844, 0.1),
    "renamed_products": (0.127, 0.25),
}

COLUMNS = """
    Invoice as invoice, StockCode as code, Description as description, Quantity::int as quantity,
    InvoiceDate::timestamp as sold_at, Price::decimal(18, 4) as price, "Customer ID" as customer, Country as country
"""


def read(files: list[Path]) -> pl.DataFrame:
    """All lines as text, with the file's name."""
    frames = [pl.read_csv(file, infer_schema=False).with_columns(file=pl.lit(file.name)) for file in files]
    return pl.concat(frames)


def latest(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of the latest delivery of each invoice."""
    return lines.filter(pl.col("file") == pl.col("file").max().over("Invoice"))


def measure(source: str, connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Every measure over a relation with the published columns."""
    connection.execute(f"create or replace table lines as select {COLUMNS} from {source}")
    connection.execute("""
        create or replace table buyers as
        select orders, spent, row_number() over (order by orders desc) / count(*) over () as rank,
            row_number() over (order by spent desc) / count(*) over () as spent_rank
        from (select count(distinct invoice) as orders, sum(quantity * price) as spent from lines
              where invoice not like 'C%' and customer is not null and price > 0 group by customer)
    """)
    return {name: float(connection.execute(sql).fetchall()[0][0]) for name, sql in MEASURES.items()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_sample(tmp_path_factory.mktemp("sample"), 100_000)


def test_proportions_are_those_of_the_real_data(sample: list[Path]) -> None:
    lines = latest(read(sample))
    with duckdb.connect() as connection:
        connection.register("sample", lines.to_arrow())
        found = measure("sample", connection)
    off = {
        name: (round(found[name], 4), f"{expected} ± {tolerance:.0%}")
        for name, (expected, tolerance) in EXPECTED.items()
        if not abs(found[name] - expected) <= tolerance * expected
    }
    assert not off


@pytest.mark.real
@pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder with the real data")
def test_expected_proportions_are_measured_ones() -> None:
    path = Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet")
    once = f"""(select * from read_parquet('{path}', file_row_number = true)
        where file_row_number < 525461 or InvoiceDate > '2010-12-09 20:01:00')"""
    with duckdb.connect() as connection:
        found = measure(once, connection)
        assert connection.execute("select count(*) from lines").fetchall() == [(proportions.LINES,)]
    assert {name: found[name] for name in EXPECTED} == pytest.approx({n: e for n, (e, _) in EXPECTED.items()}, rel=0.02)


@pytest.mark.real
@pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder with the real data")
def test_no_description_of_a_product_is_a_real_one(sample: list[Path]) -> None:
    real = pl.scan_parquet(Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet"))
    texts = pl.col("Description").str.strip_chars().str.replace_all(" +", " ")
    published = set(real.select(texts.unique()).collect().to_series())
    product = pl.col("StockCode").str.contains(r"^\d{5}") & (pl.col("Price") != "0")
    invented = set(read(sample).filter(product).select(texts.unique()).to_series())
    assert not invented & published


@pytest.mark.parametrize("lines", [1, 1_000, 20_000])
@pytest.mark.parametrize("files", ["daily", "monthly", "yearly"])
def test_size_is_exact_and_files_are_ranked(tmp_path: Path, lines: int, files: Span) -> None:
    written = write_sample(tmp_path, lines, files=files)
    assert sum(len(read([file])) for file in written) == lines
    assert sorted(tmp_path.iterdir()) == sorted(written)  # nothing unfinished is left
    names = re.compile(r"sales_[\d-]+__(\d{8}T\d{6}Z)\.csv")
    stamps = [datetime.strptime(names.fullmatch(file.name)[1], "%Y%m%dT%H%M%SZ") for file in written]  # type: ignore[index]
    assert all(earlier < later for earlier, later in pairwise(stamps))
    for file, stamp in zip(written, stamps, strict=True):
        last = read([file]).select(pl.col("InvoiceDate").max()).item()
        assert datetime.fromisoformat(last) < stamp


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    once, twice, other = (
        [file.read_bytes() for file in write_sample(tmp_path / name, 5_000, seed=seed)]
        for name, seed in (("once", 7), ("twice", 7), ("other", 8))
    )
    assert once == twice
    assert once != other


def test_every_quirk_occurs_in_a_small_sample(tmp_path: Path) -> None:
    lines = read(write_sample(tmp_path, COMPLETE_FROM))
    codes = set(lines["StockCode"])
    assert {"POST", "DOT", "C2", *(odd.code for odd in proportions.ODD_CODES)} <= codes
    assert any(re.fullmatch(r"\d{5}[a-z]", code) for code in codes)
    assert set(lines["Country"]) == {name for name, _, _ in proportions.COUNTRIES}
    price, quantity = pl.col("Price").cast(pl.Float64), pl.col("Quantity").cast(pl.Int64)
    quirks = {
        "cancellation": pl.col("Invoice").str.starts_with("C") & (quantity < 0),
        "adjustment": pl.col("Invoice").str.starts_with("A") & (pl.col("StockCode") == "B"),
        "write-off": (price == 0) & (quantity < 0) & pl.col("Description").is_null() & pl.col("Customer ID").is_null(),
        "repeat": pl.struct(lines.columns).is_duplicated(),
        "leading space": pl.col("Description").str.starts_with(" "),
        "trailing space": pl.col("Description").str.ends_with(" "),
        "doubled space": pl.col("Description").str.contains("\\w  \\w"),
        "guest": pl.col("Customer ID").is_null() & (price > 0),
    }
    assert [name for name, quirk in quirks.items() if lines.filter(quirk).is_empty()] == []


def test_customers_are_on_all_or_no_lines_of_an_invoice(sample: list[Path]) -> None:
    per_invoice = read(sample).group_by("Invoice").agg(pl.col("Customer ID", "Country", "InvoiceDate").n_unique())
    assert per_invoice.drop("Invoice").max().row(0) == (1, 1, 1)


def test_some_days_are_delivered_again_whole_and_corrected(sample: list[Path]) -> None:
    lines = read(sample).with_columns(day=pl.col("InvoiceDate").str.head(10))
    again = lines.filter(pl.col("file").n_unique().over("day") > 1)
    first = again.filter(pl.col("file") == pl.col("file").min().over("day")).drop("file")
    second = again.filter(pl.col("file") == pl.col("file").max().over("day")).drop("file")
    assert len(first) == len(second)
    assert 0.01 < len(second) / len(lines) < 0.03  # the real data: 2.1 %
    assert first.drop("Quantity").equals(second.drop("Quantity"))
    assert 0 < (first["Quantity"] != second["Quantity"]).sum() < 0.1 * len(first)


def test_the_shop_is_closed_on_saturdays_and_holidays(sample: list[Path]) -> None:
    times = read(sample)["InvoiceDate"].str.to_datetime()
    days = set(times.dt.date())
    assert 6 not in set(times.dt.weekday())
    assert not days & {date(2009, 12, 25), date(2010, 4, 2), date(2010, 4, 4), date(2010, 8, 30), date(2011, 1, 3)}
    assert set(times.dt.hour()) <= set(range(6, 21))


def test_prices_and_texts_of_products_change_over_the_months(sample: list[Path]) -> None:
    sales = latest(read(sample)).filter(
        pl.col("StockCode").str.contains(r"^\d{5}"), pl.col("Customer ID").is_not_null(), pl.col("Price") != "0"
    )
    months = sales.group_by("StockCode", month=pl.col("InvoiceDate").str.head(7)).agg(pl.col("Price").mode().min())
    changing = months.group_by("StockCode").agg(pl.col("Price").n_unique()).filter(pl.col("Price") > 1)
    assert len(changing) > 100


def test_customers_arrive_and_leave(sample: list[Path]) -> None:
    orders = read(sample).filter(pl.col("Customer ID").is_not_null(), ~pl.col("Invoice").str.starts_with("C"))
    spans = orders.group_by("Customer ID").agg(
        pl.col("InvoiceDate").min().alias("a"), pl.col("InvoiceDate").max().alias("b")
    )
    halves = Counter((a >= "2010-12-01", b >= "2011-06-01") for a, b in spans.select("a", "b").iter_rows())
    assert min(halves.values()) > 20  # old and gone, old and there, new and gone, new and there


def test_every_segment_of_customers_occurs(sample: list[Path]) -> None:
    price = pl.col("Price").cast(pl.Decimal(18, 4))
    sold = (
        latest(read(sample)).filter(price > 0).with_columns(invoiced_at=pl.col("InvoiceDate").str.to_datetime("%F %T"))
    )
    lines = sold.select(
        "invoiced_at",
        sale_date=pl.col("invoiced_at").dt.date(),
        sale_month=pl.col("invoiced_at").dt.date().dt.truncate("1mo"),
        invoice_no="Invoice",
        customer_id="Customer ID",
        country="Country",
        line_type=pl.lit("product"),
        is_cancelled=pl.col("Invoice").str.starts_with("C"),
        line_amount=(pl.col("Quantity").cast(pl.Decimal(18, 0)) * price).cast(pl.Decimal(18, 4)),
    )
    months = customer_months(nw.from_native(lines.lazy()))
    scores = score_customers(months, date(2010, 12, 1), date(2010, 12, 1)).collect()
    assert set(scores["rfm_segment"]) == set(SEGMENTS)


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_sample(tmp_path, 3_000, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (3_000, 3_000)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 line, not 0"):
        write_sample(tmp_path, 0)
    with pytest.raises(ValueError, match=r"no day of the 2 from 2010-12-25 on has sales"):
        write_sample(tmp_path, 10, start=date(2010, 12, 25), days=2)
    with pytest.raises(ValueError, match="daily, monthly, yearly, not 'hourly'"):
        write_sample(tmp_path, 10, files="hourly")  # type: ignore[arg-type]


def test_a_broken_off_sample_leaves_no_file_half_written(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, 5_000, on_progress=stop)
    whole = {file.name: file.read_bytes() for file in write_sample(tmp_path / "whole", 5_000)}
    left = [file for file in tmp_path.iterdir() if file.name != "whole"]
    assert left
    assert all(file.read_bytes() == whole[file.name] for file in left)


def test_memory_does_not_grow_with_the_size(tmp_path: Path) -> None:
    code = """
import re, sys
from pathlib import Path
from retail_platform.sources.sample import write_sample
from retail_platform.transforms.customers import customer_months, score_customers
from retail_platform.transforms.customers import customer_months, score_customers
from retail_platform.contracts.gold import SEGMENTS
write_sample(Path(sys.argv[1]), int(sys.argv[2]), files="yearly")
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""  # not getrusage: its peak includes that of the process this one was forked from
    peaks = [
        float(subprocess.check_output([sys.executable, "-c", code, str(tmp_path / size), size], text=True))
        for size in ("10000", "1000000")
    ]
    assert peaks[1] < 300  # MiB; 120 when measured
    assert peaks[1] - peaks[0] < 100  # MiB; the files have 86


def test_a_sample_of_one_day_is_made_in_stretches(tmp_path: Path) -> None:
    (file,) = write_sample(tmp_path, 250_000, start=date(2010, 11, 2), days=1)
    lines = read([file])
    assert len(lines) == 250_000
    numbers = lines["Invoice"].str.strip_chars_start("CA").cast(pl.Int64)
    assert numbers.is_sorted()
    assert lines["InvoiceDate"].is_sorted()
    assert datetime.fromisoformat(lines["InvoiceDate"][0]).replace(tzinfo=UTC).date() == date(2010, 11, 2)

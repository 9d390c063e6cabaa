"""The job by hand in Polars: `python -m retail_platform_tests.benchmarks.peers.polars_job OUT REFERENCE FILE …`."""

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import holidays
import polars as pl
from deltalake import write_deltalake

from retail_platform_tests.benchmarks.peers.spans import Spans

COLUMNS = {
    "Invoice": "invoice_no",
    "StockCode": "stock_code",
    "Description": "description",
    "Quantity": "quantity",
    "InvoiceDate": "invoice_date",
    "Price": "unit_price",
    "Customer ID": "customer_id",
    "Country": "country",
}
ORIGIN = ["delivery_id", "file_sha256", "source_file", "source_sheet", "source_row", "ingested_at"]
FIRST_DAY = date(2009, 12, 1)
MONEY = pl.Decimal(18, 4)
VALUES = [
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoiced_at",
    "unit_price",
    "customer_id",
    "country",
]
UNKNOWN = {-1: "Unspecified", -2: "European Community", -3: "Channel Islands", -4: "West Indies"}


def expect(holds: object, what: str) -> None:
    if not holds:
        raise SystemExit(f"check failed: {what}")


def write(out: Path, layer: str, name: str, frame: pl.DataFrame, by_month: bool = False) -> None:
    write_deltalake(out / layer / name, frame, partition_by=["sale_month"] if by_month else None)


def digests(frame: pl.DataFrame, parts: Sequence[str]) -> list[bytes]:
    """SHA-256 over the length-prefixed texts of some columns, row by row."""
    texts = [
        pl.col(part).dt.strftime("%Y-%m-%d %H:%M:%S") if part == "invoiced_at" else pl.col(part).cast(pl.String)
        for part in parts
    ]
    prefixed = [pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text).fill_null("-") for text in texts]
    joined = frame.select(pl.concat_str(prefixed)).to_series().to_list()
    return [hashlib.sha256(text.encode()).digest() for text in joined]


def with_key(frame: pl.DataFrame, parts: Sequence[str], name: str) -> pl.DataFrame:
    keys = [int.from_bytes(digest[:8], "big") >> 1 for digest in digests(frame, parts)]
    return frame.with_columns(pl.Series(name, keys, pl.Int64))


def read_bronze(out: Path, files: Sequence[Path]) -> pl.DataFrame:
    """Keep the bytes; the rows as text, with where they come from, their time and day."""
    now, parts = datetime.now(UTC), []
    (out / "bytes").mkdir()
    for number, file in enumerate(files):
        with file.open("rb") as content:
            sha = hashlib.file_digest(content, "sha256").hexdigest()
        shutil.copyfile(file, out / "bytes" / sha)
        stamp = re.search(r"__(\d{8}T\d{6}Z)", file.name)
        latest = datetime.strptime(stamp[1], "%Y%m%dT%H%M%SZ").date() + timedelta(days=1) if stamp else date.max
        at = pl.col("invoice_date").str.strip_chars().str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
        parts.append(
            pl.scan_csv(file, infer_schema=False, row_index_name="source_row", row_index_offset=1)
            .rename(COLUMNS)
            .with_columns(
                pl.col("source_row").cast(pl.Int64),
                delivery_id=pl.lit(f"{sha}#0"),
                file_sha256=pl.lit(sha),
                source_file=pl.lit(file.name),
                source_sheet=pl.lit(None, pl.String),
                ingested_at=pl.lit(now),
                invoiced_at=at,
                rank=pl.lit(number),
                latest=pl.lit(latest),
            )
            .with_columns(day=pl.col("invoiced_at").dt.date())
            .with_columns(sale_date=pl.when(pl.col("day").is_between(FIRST_DAY, pl.col("latest"))).then("day"))
            .with_columns(sale_month=pl.col("sale_date").dt.truncate("1mo"))
            .drop("day", "latest")
        )
    bronze = pl.concat(parts).collect()
    expect(bronze.select(pl.struct("delivery_id", "source_row").n_unique()).item() == bronze.height, "bronze keys")
    expect(bronze["delivery_id"].null_count() == 0, "bronze origin")
    kept = [*ORIGIN, "sale_month", "sale_date", *COLUMNS.values(), "invoiced_at"]
    write(out, "bronze", "sales", bronze.select(kept), by_month=True)
    return bronze


def text(column: str) -> pl.Expr:
    trimmed = pl.col(column).str.replace_all("\x00", "", literal=True).str.strip_chars(" \t\r\n\u00a0")
    return pl.when(trimmed != "").then(trimmed)


def line_type() -> pl.Expr:
    code = pl.col("stock_code")
    return (
        pl.when(code.is_in(["POST", "DOT", "C2", "C3", "23444"]))
        .then(pl.lit("postage"))
        .when(code.is_in(["BANK CHARGES", "AMAZONFEE", "CRUK"]))
        .then(pl.lit("fee"))
        .when(code == "D")
        .then(pl.lit("discount"))
        .when((code == "22016") | code.str.starts_with("GIFT"))
        .then(pl.lit("gift_voucher"))
        .when(code.is_in(["M", "ADJUST", "ADJUST2"]))
        .then(pl.lit("manual"))
        .when(code == "S")
        .then(pl.lit("sample"))
        .when(code.str.starts_with("TEST"))
        .then(pl.lit("test"))
        .when(code == "B")
        .then(pl.lit("other"))
        .when(code.is_in(["SP1002", "PADS"]) | code.str.starts_with("DCGS") | code.str.contains(r"^\d{5}"))
        .then(pl.lit("product"))
        .otherwise(pl.lit("other"))
    )


def judge(bronze: pl.DataFrame) -> pl.DataFrame:
    """Typed and cleaned values, and the first reason to reject a row, or null."""
    raw = [pl.col(name).alias(f"raw_{name}") for name in COLUMNS.values()]
    customer = text("customer_id")
    number = text("quantity").str.extract(r"^([+-]?0*[0-9]{1,10})(?:\.0+)?$").str.strip_prefix("+")
    quantity = number.cast(pl.Int64)
    price = text("unit_price").str.extract(r"^([+-]?0*(?:[0-9]{1,13}(?:\.[0-9]*)?|\.[0-9]+))$").str.strip_prefix("+")
    typed = (
        bronze.lazy()
        .with_columns(raw)
        .with_columns(
            invoice_no=text("invoice_no"),
            stock_code=text("stock_code").str.to_uppercase(),
            description=text("description").str.replace_all(r"[ \t\r\n]{2,}|[\t\r\n]", " "),
            customer_id=pl.when(customer.str.contains(r"^[0-9]+\.0+$"))
            .then(customer.str.extract(r"^([0-9]+)"))
            .otherwise(customer),
            country=text("country"),
            quantity=pl.when(quantity.abs() < 2**31).then(quantity).cast(pl.Int32),
            unit_price=price.cast(pl.Decimal(38, 16)).round(4, mode="half_away_from_zero").cast(MONEY),
        )
        .with_columns(
            amount=pl.col("quantity").cast(pl.Decimal(10, 0)) * pl.col("unit_price"),
            is_cancelled=pl.col("invoice_no").str.starts_with("C").fill_null(False),
            line_type=line_type(),
        )
        .with_columns(line_amount=pl.when(pl.col("amount").abs() < 10**14).then("amount").cast(MONEY))
        .with_columns(
            newest=pl.col("rank").max().over("invoice_no", "sale_date"),
            reason=pl.when(pl.col("invoice_no").is_null())
            .then(pl.lit("missing_invoice"))
            .when(pl.col("stock_code").is_null())
            .then(pl.lit("missing_stock_code"))
            .when(pl.col("quantity").is_null() | (pl.col("quantity") == 0))
            .then(pl.lit("invalid_quantity"))
            .when(pl.col("line_amount").is_null())
            .then(pl.lit("invalid_price"))
            .when(pl.col("sale_date").is_null())
            .then(pl.lit("invalid_date"))
            .when(pl.col("invoice_no").str.starts_with("A") | (pl.col("unit_price") < 0))
            .then(pl.lit("adjustment"))
            .when(pl.col("unit_price") == 0)
            .then(pl.lit("zero_price"))
            .when(pl.col("stock_code").str.starts_with("TEST"))
            .then(pl.lit("test_line")),
        )
        .with_columns(
            reason=pl.when(pl.col("reason").is_null() & (pl.col("rank") < pl.col("newest")))
            .then(pl.lit("superseded"))
            .otherwise("reason")
        )
        .collect()
    )
    # Rows are in file order, so that the first of equals is the one that stays.
    good = typed.with_row_index("i").filter(pl.col("reason").is_null())
    alike = good.filter(pl.len().over("delivery_id", "invoice_no", "stock_code", "quantity", "unit_price") > 1)
    first = alike.unique(["delivery_id", *VALUES], keep="first", maintain_order=True)
    repeats = set(alike["i"]) - set(first["i"])
    is_repeat = pl.Series("i", sorted(repeats), pl.get_index_type())
    return typed.with_row_index("i").with_columns(
        reason=pl.when(pl.col("i").is_in(is_repeat.implode())).then(pl.lit("duplicate_line")).otherwise("reason")
    )


def write_silver(out: Path, bronze: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    lines = judged.filter(pl.col("reason").is_null()).select(
        *ORIGIN,
        "sale_month",
        "sale_date",
        "invoiced_at",
        *VALUES[:4],
        "unit_price",
        "line_amount",
        "customer_id",
        "country",
        "line_type",
        "is_cancelled",
        repeat_no=pl.lit(1, pl.Int32),
    )
    rejects = judged.filter(pl.col("reason").is_not_null()).select(
        *ORIGIN,
        "sale_month",
        "sale_date",
        *(pl.col(f"raw_{name}").alias(name) for name in COLUMNS.values()),
        "reason",
        "line_amount",
    )
    expect(lines.height + rejects.height == bronze.height, "rows of silver and rejects are those of bronze")
    nulls = lines.drop("source_sheet", "description", "customer_id", "country").null_count()
    expect(nulls.sum_horizontal().item() == 0, "silver has what it must have")
    expect((lines["unit_price"] > 0).all() and (lines["quantity"] != 0).all(), "prices and quantities of lines")
    for frame in (lines, rejects):
        expect(frame.select(pl.struct("delivery_id", "source_row").n_unique()).item() == frame.height, "keys")
    unreadable = (
        judged.filter(pl.col("sale_date").is_not_null())
        .group_by("sale_date")
        .agg(wrong=(pl.col("quantity").is_null() | pl.col("unit_price").is_null()).sum() * 2 > pl.len())
    )
    expect(not unreadable["wrong"].any(), "numbers are readable")
    warnings = lines.group_by("sale_date").agg(
        no_description=pl.col("description").is_null().sum(),
        unknown_code=(pl.col("line_type") == "other").sum(),
        odd_cancellation=(pl.col("is_cancelled") & (pl.col("quantity") > 0)).sum(),
        high_price=(pl.col("unit_price") > 10_000).sum(),
        high_quantity=(pl.col("quantity").abs() > 10_000).sum(),
    )
    warnings.sort("sale_date").write_csv(out / "warnings.csv")
    write(out, "silver", "sales", lines, by_month=True)
    write(out, "silver", "rejects", rejects, by_month=True)
    return lines


def product_months(lines: pl.DataFrame) -> pl.DataFrame:
    """Line type, most frequent description and lower median price of each product and month, and of its first day."""
    keys = ["sale_month", "stock_code"]
    first = lines.filter(pl.col("sale_date") == pl.col("sale_date").min().over(keys))

    def description(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        counted = frame.drop_nulls("description").group_by(*keys, "description").len()
        ordered = counted.sort("len", "description", descending=[True, False])
        return ordered.group_by(keys).agg(pl.col("description").first().alias(name))

    def median(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        prices = pl.col("unit_price").sort()
        return frame.filter(~pl.col("is_cancelled")).group_by(keys).agg(prices.get((pl.len() - 1) // 2).alias(name))

    months = lines.group_by(keys).agg(pl.col("line_type").min(), first_date=pl.col("sale_date").min())
    for piece in (
        description(lines, "description"),
        median(lines, "median_price"),
        description(first, "first_description"),
        median(first, "first_price"),
    ):
        months = months.join(piece, on=keys, how="left")
    expect(months["line_type"].null_count() == 0, "product months have their type")
    return months


def customer_months(lines: pl.DataFrame) -> pl.DataFrame:
    """Orders, amounts and country of each customer and month, and of its first day."""
    keys = ["sale_month", "customer_id"]
    known = lines.drop_nulls("customer_id")
    first = known.filter(pl.col("sale_date") == pl.col("sale_date").min().over(keys))
    bought = ~pl.col("is_cancelled")

    def summed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by(keys).agg(
            orders=pl.struct("invoice_no", "sale_date").filter(bought).n_unique().cast(pl.Int64),
            last_order_date=pl.col("sale_date").filter(bought).max(),
            spent=pl.col("line_amount").filter(bought).sum(),
            net_revenue=pl.col("line_amount").sum(),
            product_revenue=pl.col("line_amount").filter(pl.col("line_type") == "product").sum(),
            first_date=pl.col("sale_date").min(),
        )

    def country(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        named = frame.drop_nulls("country").select(*keys, "invoiced_at", "invoice_no", "country").unique()
        last = named.sort("invoiced_at", "invoice_no", "country").group_by(keys, maintain_order=True)
        return last.agg(pl.col("country").last().alias(name))

    totals = ["orders", "spent", "net_revenue"]
    first_totals = summed(first).select(*keys, *(pl.col(name).alias(f"first_{name}") for name in totals))
    months = summed(known)
    for piece in (first_totals, country(known, "country"), country(first, "first_country")):
        months = months.join(piece, on=keys, how="left")
    return months


def product_dimension(months: pl.DataFrame, open_month: date) -> pl.DataFrame:
    """Versions by a walk over each product's months."""
    versions = []
    for code, rows in months.sort("stock_code", "sale_month").group_by("stock_code", maintain_order=True):
        walk = rows.to_dicts()
        is_product = walk[0]["line_type"] == "product"
        head = walk[0]
        events = [(head["first_date"], head["first_description"], head["first_price"] if is_product else None)]
        for row in walk:
            if row["line_type"] == "product" and row["sale_month"] < open_month:
                close = (row["sale_month"] + timedelta(days=31)).replace(day=1)
                events.append((close, row["description"], row["median_price"]))
        described = priced = published = None
        for number, (start, description, price) in enumerate(events):
            price = priced if price is None else price
            description = described if description is None else description
            is_far = price is not None and (priced is None or abs(price - priced) * 10 > priced)
            is_repriced = number == 0 or is_far
            if is_repriced and price is not None:
                published = price
            if is_repriced or (description is not None and description != described):
                versions.append((code[0], description, published, start))
            described, priced = description, price
    frame = pl.DataFrame(
        versions,
        schema={"stock_code": pl.String, "description": pl.String, "recommended_price": MONEY, "valid_from": pl.Date},
        orient="row",
    )
    return with_key(with_intervals(frame, "stock_code"), ["stock_code", "valid_from"], "product_key")


def with_intervals(frame: pl.DataFrame, member: str) -> pl.DataFrame:
    ordered = frame.sort(member, "valid_from")
    return ordered.with_columns(
        valid_to=pl.col("valid_from").shift(-1).over(member),
        version=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(member),
    ).with_columns(is_current=pl.col("valid_to").is_null())


def score(column: str) -> pl.Expr:
    rank = pl.col(column).rank("min").over("close").cast(pl.Int64)
    return (1 + (rank - 1) * 5 // pl.len().over("close")).cast(pl.Int16)


def segment() -> pl.Expr:
    r, f, m = pl.col("recency_score"), pl.col("frequency_score"), pl.col("monetary_score")
    return (
        pl.when((r >= 4) & (f >= 4) & (m >= 4))
        .then(pl.lit("Champions"))
        .when((r <= 2) & (f >= 4) & (m >= 4))
        .then(pl.lit("Cannot Lose Them"))
        .when((r <= 2) & ((f >= 3) | (m >= 4)))
        .then(pl.lit("At Risk"))
        .when((r >= 3) & (f >= 3))
        .then(pl.lit("Loyal Customers"))
        .when((r >= 3) & (m >= 4))
        .then(pl.lit("Big Spenders"))
        .when((r >= 4) & (f == 1))
        .then(pl.lit("New Customers"))
        .otherwise(pl.lit("Others"))
    )


def customer_dimension(months: pl.DataFrame, open_month: date) -> pl.DataFrame:
    """Every customer at every close since its first month; a version where country or segment is another one."""
    last_close = (open_month - timedelta(days=1)).replace(day=1)
    first_month = months["sale_month"].min()
    closes = pl.DataFrame({"close": pl.date_range(first_month, last_close, "1mo", eager=True)})  # type: ignore[arg-type]
    ahead = pl.DataFrame({"ahead": [f"{number}mo" for number in range(12)]})
    scores = (
        months.join(ahead, how="cross")
        .with_columns(close=pl.col("sale_month").dt.offset_by(pl.col("ahead")))
        .filter(pl.col("close") <= last_close)
        .group_by("customer_id", "close")
        .agg(pl.col("last_order_date").max(), pl.col("orders").sum(), pl.col("product_revenue").sum())
        .filter(pl.col("orders") > 0)
        .select(
            "customer_id",
            "close",
            recency_score=score("last_order_date"),
            frequency_score=score("orders"),
            monetary_score=score("product_revenue"),
        )
        .with_columns(rfm_segment=segment())
    )
    first = months.filter(pl.col("sale_month") == pl.col("sale_month").min().over("customer_id"))
    members = first.select(
        "customer_id",
        "first_country",
        "first_orders",
        "first_spent",
        "first_net_revenue",
        first_close="sale_month",
        registration_date="first_date",
    )
    totals = ["orders", "spent", "net_revenue"]
    grid = (
        members.join(closes, how="cross")
        .filter(pl.col("close") >= pl.col("first_close"))
        .join(scores, on=["customer_id", "close"], how="left")
        .join(
            months.rename({"sale_month": "close"}).select("customer_id", "close", "country", *totals),
            on=["customer_id", "close"],
            how="left",
        )
        .sort("customer_id", "close")
        .with_columns(
            pl.col("rfm_segment").fill_null("Others"),
            *(pl.col(name).fill_null(0).cum_sum().over("customer_id") for name in totals),
            valid_from=pl.col("close").dt.offset_by("1mo"),
        )
    )
    start = members.select(
        "customer_id", country="first_country", rfm_segment=pl.lit("New Customers"), valid_from="registration_date"
    )
    judged = (
        pl.concat([start, grid.select("customer_id", "country", "rfm_segment", "valid_from")])
        .sort("customer_id", "valid_from")
        .with_columns(pl.col("country").forward_fill().over("customer_id"))
    )
    before = {name: pl.col(name).shift(1).over("customer_id") for name in ("country", "rfm_segment")}
    moved = [pl.col(name).is_not_null() & pl.col(name).ne_missing(value) for name, value in before.items()]
    versions = with_intervals(judged.filter(pl.any_horizontal(moved)), "customer_id").join(
        members, on="customer_id", how="left"
    )
    close = pl.when("is_current").then(last_close).otherwise(pl.col("valid_to").dt.offset_by("-2mo"))
    in_force = (pl.col("close") >= pl.col("first_close")) & (
        pl.col("close").dt.offset_by("1mo") >= pl.col("valid_from")
    )
    at_close = grid.select("customer_id", "close", *totals, "recency_score", "frequency_score", "monetary_score")
    spent, orders = (pl.col("total_spent") * 10_000).cast(pl.Int64), pl.col("total_orders")
    counted = pl.when(orders > 0).then(orders)
    tier = pl.col("monetary_score").replace_strict(
        {5: "High Value", 4: "Mid Value", 3: "Mid Value", 2: "Low Value", 1: "Low Value"},
        default="Inactive",
        return_dtype=pl.String,
    )
    rows = (
        versions.with_columns(close=close)
        .with_columns(close=pl.when(in_force).then("close"))
        .join(at_close, on=["customer_id", "close"], how="left")
        .with_columns(
            total_orders=pl.coalesce("orders", "first_orders"),
            total_spent=pl.coalesce("spent", "first_spent").cast(MONEY),
            lifetime_value=pl.coalesce("net_revenue", "first_net_revenue").cast(MONEY),
            customer_segment=pl.when(pl.col("close").is_null()).then(pl.lit("New")).otherwise(tier),
        )
        .with_columns(
            avg_order_value=(
                ((2 * spent + counted) // (2 * counted)).cast(pl.Decimal(22, 0)) * pl.lit("0.0001").cast(MONEY)
            ).cast(MONEY)
        )
    )
    keyed = with_key(rows, ["customer_id", "valid_from"], "customer_key").select(
        "customer_key",
        "customer_id",
        "customer_segment",
        "registration_date",
        "lifetime_value",
        "total_orders",
        "total_spent",
        "avg_order_value",
        "recency_score",
        "frequency_score",
        "monetary_score",
        "rfm_segment",
        "country",
        "valid_from",
        "valid_to",
        "is_current",
        "version",
    )
    guest = {"customer_key": -1, "customer_segment": "Guest", "rfm_segment": "Others", "valid_from": date(1900, 1, 1)}
    guest |= {"is_current": True, "version": 1}
    return pl.concat([pl.DataFrame([guest], schema=keyed.schema), keyed])


def calendar(first: int, last: int) -> pl.DataFrame:
    england = holidays.country_holidays("GB", subdiv="ENG", years=range(first, last + 1))
    names = pl.DataFrame(
        {"date": list(england.keys()), "holiday_name": list(england.values())},
        schema={"date": pl.Date, "holiday_name": pl.String},
    )
    day = pl.col("date")
    days = pl.DataFrame({"date": pl.date_range(date(first, 1, 1), date(last, 12, 31), eager=True)})
    return days.join(names, on="date", how="left", maintain_order="left").with_columns(
        date_key=day.dt.strftime("%Y%m%d").cast(pl.Int32),
        year=day.dt.year(),
        quarter=day.dt.quarter(),
        month=day.dt.month(),
        month_name=day.dt.strftime("%B"),
        week=day.dt.week(),
        day_of_month=day.dt.day(),
        day_of_week=day.dt.weekday(),
        day_name=day.dt.strftime("%A"),
        is_weekend=day.dt.weekday() > 5,
        is_holiday=pl.col("holiday_name").is_not_null(),
        fiscal_year=day.dt.offset_by("9mo").dt.year(),
        fiscal_quarter=day.dt.offset_by("9mo").dt.quarter(),
    )


def monthly(versions: pl.DataFrame, member: str, key: str, months: pl.DataFrame) -> pl.DataFrame:
    """The key of each member in each month."""
    holds = (pl.col("valid_from") < pl.col("month_end")) & (
        pl.col("valid_to").fill_null(date(9999, 1, 1)) > pl.col("sale_month")
    )
    return versions.drop_nulls(member).join_where(months, holds).select(member, "sale_month", key)


def converted(code: str) -> pl.Expr:
    """The amount in another currency, exact until rounded half away from zero: whole numbers of 128 bits."""
    units = (pl.col("total_amount") * 10_000).cast(pl.Int128)
    other, shop = ((pl.col(name).cast(pl.Decimal(24, 6)) * 1_000_000).cast(pl.Int128) for name in (code, "GBP"))
    whole = (2 * (units * other).abs() + shop) // (2 * shop)
    signed = pl.when(units < 0).then(whole * -1).otherwise(whole)
    return (signed.cast(pl.Decimal(22, 0)) * pl.lit("0.0001").cast(MONEY)).cast(MONEY)


def facts(
    lines: pl.DataFrame, products: pl.DataFrame, customers: pl.DataFrame, invoices: pl.DataFrame, reference: Path
) -> pl.DataFrame:
    months = lines.select(pl.col("sale_month").unique()).with_columns(
        month_end=pl.col("sale_month").dt.offset_by("1mo")
    )
    aliases = pl.read_csv(reference / "country_aliases.csv", infer_schema=False)
    coded = with_key(aliases.filter(pl.col("member").str.contains("^[A-Z]{2}$")), ["member"], "country_key")
    unknown = aliases.filter(~pl.col("member").str.contains("^[A-Z]{2}$")).with_columns(
        country_key=pl.col("member").cast(pl.Int64)
    )
    spelt = pl.concat([coded, unknown]).select("spelling", "country_key")
    spellings = (
        lines.select("country").unique().with_columns(spelling=pl.col("country").str.strip_chars().str.to_lowercase())
    )
    countries = spellings.join(spelt, on="spelling", how="left").select("country", "country_key")
    rates = pl.read_csv(
        reference / "rates.csv",
        schema_overrides={"rate_date": pl.Date, **dict.fromkeys(("GBP", "EUR", "USD"), pl.Decimal(18, 6))},
    )
    keyed = (
        lines.join(
            invoices.select("invoice_no", "sale_date", "invoice_key"), on=["invoice_no", "sale_date"], how="left"
        )
        .join(monthly(products, "stock_code", "product_key", months), on=["stock_code", "sale_month"], how="left")
        .join(monthly(customers, "customer_id", "customer_key", months), on=["customer_id", "sale_month"], how="left")
        .join(countries, on="country", how="left", nulls_equal=True)
        .join(rates, left_on="sale_date", right_on="rate_date", how="left")
        .with_columns(total_amount="line_amount", repeat=pl.lit(None, pl.Int32))
        .with_columns(total_amount_eur=converted("EUR"), total_amount_usd=converted("USD"))
    )
    hexes = [digest.hex() for digest in digests(keyed, [*VALUES, "repeat"])]
    ids = [f"{h[:8]}-{h[8:12]}-8{h[13:16]}-a{h[17:20]}-{h[20:32]}" for h in hexes]
    nothing = {name: pl.lit(None, MONEY) for name in ("discount_amount", "tax_amount", "profit_amount")}
    return (
        keyed.with_columns(
            pl.Series("sale_id", ids),
            customer_key=pl.when(pl.col("customer_id").is_null()).then(-1).otherwise("customer_key"),
            country_key=pl.col("country_key").fill_null(-1),
            date_key=pl.col("sale_date").dt.strftime("%Y%m%d").cast(pl.Int32),
            margin_percentage=pl.lit(None, pl.Decimal(9, 4)),
            created_at="ingested_at",
            batch_id="delivery_id",
            **nothing,
        )
        .select(
            "sale_month",
            "sale_date",
            "sale_id",
            "product_key",
            "customer_key",
            "date_key",
            "invoice_key",
            "country_key",
            "quantity",
            "unit_price",
            "total_amount",
            *nothing,
            "margin_percentage",
            "line_type",
            "is_cancelled",
            "invoiced_at",
            "created_at",
            "batch_id",
            "total_amount_eur",
            "total_amount_usd",
        )
        .sort("sale_date", "sale_id")
    )


def check_dimension(frame: pl.DataFrame, member: str, key: str) -> None:
    expect(frame[key].is_unique().all(), f"{key} is unique")
    expect(frame["valid_from"].null_count() == 0, f"{member} versions have their first day")
    following = (
        frame.drop_nulls(member)
        .sort(member, "valid_from")
        .with_columns(following=pl.col("valid_from").shift(-1).over(member))
    )
    expect(following["valid_to"].eq_missing(following["following"]).all(), f"{member} intervals meet")


def main(out: Path, reference: Path, files: Sequence[Path]) -> None:
    spans = Spans()
    with spans.step("bronze"):
        bronze = read_bronze(out, files)
    with spans.step("silver"):
        judged = judge(bronze)
        lines = write_silver(out, bronze, judged)
        del bronze, judged
    with spans.step("month_summaries"):
        by_product, by_customer = product_months(lines), customer_months(lines)
        write(out, "silver", "product_months", by_product, by_month=True)
        write(out, "silver", "customer_months", by_customer, by_month=True)
    open_month = lines["sale_month"].max()
    with spans.step("calendar_and_countries"):
        days = lines["sale_date"]
        write(out, "gold", "dim_date", calendar(days.min().year, days.max().year))  # type: ignore[union-attr]
        known = with_key(pl.read_csv(reference / "countries.csv").sort("country_code"), ["country_code"], "country_key")
        unknown = pl.DataFrame({"country_key": list(UNKNOWN), "country_name": list(UNKNOWN.values())})
        countries = pl.concat([unknown, known], how="diagonal")
        write(out, "gold", "dim_country", countries)
    with spans.step("dim_product"):
        products = product_dimension(by_product, open_month)  # type: ignore[arg-type]
        check_dimension(products, "stock_code", "product_key")
        write(out, "gold", "dim_product", products)
    with spans.step("dim_customer"):
        customers = customer_dimension(by_customer, open_month)  # type: ignore[arg-type]
        check_dimension(customers, "customer_id", "customer_key")
        write(out, "gold", "dim_customer", customers)
    with spans.step("dim_invoice"):
        grouped = lines.group_by("sale_month", "invoice_no", "sale_date").agg(
            invoice_date=pl.col("invoiced_at").min(),
            is_cancelled=pl.col("is_cancelled").any(),
            invoice_total=pl.col("line_amount").sum().cast(MONEY),
        )
        invoices = with_key(grouped, ["invoice_no", "sale_date"], "invoice_key").sort("sale_date", "invoice_no")
        expect(invoices["invoice_key"].is_unique().all(), "invoice_key is unique")
        write(out, "gold", "dim_invoice", invoices, by_month=True)
    with spans.step("fact_sale"):
        sold = facts(lines, products, customers, invoices, reference)
        expect(sold["sale_id"].is_unique().all(), "sale_id is unique")
        required = ["product_key", "customer_key", "invoice_key", "country_key", "date_key", "total_amount"]
        expect(sold.select(required).null_count().sum_horizontal().item() == 0, "facts have their keys")
        for key, frame in (
            ("country_key", countries),
            ("product_key", products),
            ("customer_key", customers),
            ("invoice_key", invoices),
        ):
            expect(sold[key].unique().is_in(frame[key].implode()).all(), f"{key} is known")
        expect(sold["total_amount"].sum() == lines["line_amount"].sum(), "totals are equal")
        write(out, "gold", "fact_sale", sold, by_month=True)
    spans.tell(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])

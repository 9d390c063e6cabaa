"""From delivered text to silver: typing, cleaning, the rules that drop rows, supersession and repeats.

What the rules are is declared in `contracts/rules.py`. Written on Narwhals, so that it runs on every engine with the
same result. Nothing passes through a float or an engine's own cast of odd text: values are matched by regular
expression first. Reading deliveries and writing tables stays out (`lakehouse/`).
"""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from typing import Any

import narwhals as nw

from retail_platform.contracts import SILVER_REJECTS, SILVER_SALES
from retail_platform.contracts.rules import ACROSS_ROWS, DUPLICATE_LINE, RULES, SUPERSEDED, Rule
from retail_platform.lakehouse.mapping import TEXT_COLUMNS, CodeRule, Mapping

QUANTITY = r"^[+-]?0*[0-9]{1,10}(?:\.0+)?$"
PRICE = r"^[+-]?0*(?:[0-9]{1,13}(?:\.[0-9]*)?|\.[0-9]+)$"
"""At most thirteen digits before the point, so that rounding cannot leave numeric(18,4)."""
PLAIN_QUANTITY = r"^-?[0-9]{1,10}$"
PLAIN_PRICE = r"^[0-9]{1,13}(?:\.[0-9]{1,4})?$"
"""How nearly every number is written: an engine reads it as it is. Only the others are taken apart by patterns."""
WHOLE_NUMBER_OF_A_FLOAT = r"^[0-9]+\.0+$"
NOT_TEXT = " \t\r\n\u00a0\u0085\u2028\u2029"
"""Trimmed off every text; the last three end lines, and of Spark's expressions `$` would match before them."""
NOT_UPPERED = "[^ -~\u00a1-\u00de\u00e0-\u0148\u014a-\u017f\u0391-\u03a9\u03b1-\u03c9\u0400-\u04ff]"
"""Beyond the letters of Latin, Greek and Cyrillic engines differ in what upper case is: of `ß`, SS, ẞ or ß."""

MAX_QUANTITY = 2**31 - 1
MAX_AMOUNT = 10**14
"""Amounts are numeric(18,4): fourteen digits before the point."""

LINE_VALUES = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoiced_at",
    "unit_price",
    "customer_id",
    "country",
)
"""The eight typed values that make a line: rows of a delivery in which all are equal are repeats."""

WAIVABLE = ("adjustment", "duplicate_line")
"""The rules that a row of a correction may waive for itself: what they drop is a line in all else. One without a price
above 0 is none, and what is sold under a test code has no place in the marts."""

LINE_CANDIDATE = ("invoice_no", "stock_code", "quantity", "unit_price")


def judge_sales(
    rows: nw.LazyFrame[Any],
    deliveries: nw.LazyFrame[Any],
    mappings: Dict[str, Mapping],
    rules: Sequence[Rule] = RULES,
) -> nw.LazyFrame[Any]:
    """Type, clean and judge the delivered rows of whole days.

    Args:
        rows: bronze rows (contract `BronzeSales`), all of them for every day they touch: supersession looks across the
            deliveries of a day.
        deliveries: one row per (delivery_id, file_sha256) with delivery_rank (higher wins) and mapping (a name).
        mappings: the mapping of each name in `deliveries`.
        rules: what is expected of a row; those that drop it are applied here.

    Returns:
        Every row once, in no order, with typed values, the delivered text as `raw_*`, `is_restated` and `reason`: null
        for a silver line. `silver_lines` and `silver_rejects` divide them; compute this frame once for both.
    """
    ranked = rows.join(deliveries, on=["delivery_id", "file_sha256"], how="inner")
    typed = nw.concat(
        [type_rows(ranked.filter(nw.col("mapping") == name), mapping, rules) for name, mapping in mappings.items()],
        how="vertical",
    )
    return reject_repeats(reject_superseded(typed))


def silver_lines(judged: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The accepted rows of `judge_sales` (contract `SilverSales`)."""
    return judged.filter(nw.col("reason").is_null()).select(*SILVER_SALES.schema)


def silver_rejects(judged: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rejected rows of `judge_sales`, as delivered (contract `SilverRejects`)."""
    delivered = (nw.col(f"raw_{name}").alias(name) for name in TEXT_COLUMNS)
    columns = dict(zip(TEXT_COLUMNS, delivered, strict=True))
    return judged.filter(~nw.col("reason").is_null()).select(
        *(columns.get(name, nw.col(name)) for name in SILVER_REJECTS.schema)
    )


def type_rows(rows: nw.LazyFrame[Any], mapping: Mapping, rules: Sequence[Rule] = RULES) -> nw.LazyFrame[Any]:
    """Give the rows of one mapping their typed values and the reasons that a row carries in itself.

    Args:
        rows: bronze rows with delivery_rank.
        mapping: prefixes, codes and repeats of the retailer.
        rules: as `judge_sales`.

    Returns:
        The rows with the typed values under their silver names, the delivered text as `raw_*`, `reason` (null so
        far for a good row), `is_adjustment`, `is_test` and `keeps_repeats`.
    """
    renamed = rows.with_columns(*(nw.col(name).alias(f"raw_{name}") for name in TEXT_COLUMNS))
    cleaned = renamed.with_columns(
        invoice_no=_text("invoice_no"),
        stock_code=_upper(_text("stock_code")),
        description=_text("description").str.replace_all(r"[ \t\r\n]{2,}|[\t\r\n]", " "),
        customer_id=_customer_id(_text("customer_id")),
        country=_text("country"),
        quantity=_quantity(_number("quantity", mapping.decimal)),
        unit_price=_unit_price(_number("unit_price", mapping.decimal)),
        keeps_repeats=nw.lit(mapping.repeats == "keep") | _is_waived(mapping, "duplicate_line"),
    )
    priced = cleaned.with_columns(
        amount=nw.col("quantity").cast(nw.Decimal(19, 0)) * nw.col("unit_price"),
        is_cancelled=_starts_with_any("invoice_no", mapping.prefixes.cancelled),
        is_adjustment=_starts_with_any("invoice_no", mapping.prefixes.adjustment) & ~_is_waived(mapping, "adjustment"),
        is_test=_starts_with_any("stock_code", mapping.prefixes.test),
        line_type=_line_type(mapping.codes),
    )
    fits = nw.col("amount").abs() < MAX_AMOUNT
    summed = priced.with_columns(line_amount=nw.when(fits).then(nw.col("amount")).cast(nw.Decimal(18, 4)))
    return summed.with_columns(reason=_own_reason(rules))


def reject_superseded(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Mark rows whose (invoice_no, sale_date) a higher-ranked delivery restates. Every dated row claims its key."""
    newest = nw.col("delivery_rank").max().over("invoice_no", "sale_date")
    return rows.with_columns(is_restated=nw.col("delivery_rank") < newest).with_columns(reason=_or_rejected(SUPERSEDED))


def reject_repeats(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Number equal lines of a delivery in file order; all but the first are rejected unless the mapping keeps them.

    Few rows have an equal, so four of the values find the candidates, and only those are ordered and compared in full.
    """
    candidates = rows.with_columns(alike=nw.len().over("delivery_id", *LINE_CANDIDATE))
    alone = candidates.filter(nw.col("alike") == 1).with_columns(repeat_no=nw.lit(1).cast(nw.Int32))
    alike = candidates.filter(nw.col("alike") > 1).with_columns(repeat_no=nw.lit(1))
    numbered = alike.with_columns(repeat_no=_ordinal("repeat_no").cast(nw.Int32))
    both = nw.concat([alone, numbered], how="vertical")
    return both.with_columns(reason=_or_rejected(DUPLICATE_LINE))


def _ordinal(ones: str) -> nw.Expr:
    """1 for the first of equal lines of a delivery in file order, and so on; rejected rows apart.

    A column of ones is summed: pandas would count the one that orders, and order by the counts.
    """
    equals = ["reason", "delivery_id", *LINE_VALUES]
    return nw.col(ones).cum_sum().over(*equals, order_by=["source_file", "file_sha256", "source_row"])


def _own_reason(rules: Sequence[Rule]) -> nw.Expr:
    """The first of the rules that a row breaks by itself."""
    reason = nw.lit(None, dtype=nw.String)
    for rule in reversed(rules):
        if rule.severity == "drop" and rule not in ACROSS_ROWS:
            reason = nw.when(rule.expected).then(reason).otherwise(nw.lit(rule.name))
    return reason


def _or_rejected(rule: Rule) -> nw.Expr:
    """The reason there is, or else the rule where the row breaks it."""
    reason = nw.col("reason")
    return nw.when(~reason.is_null() | rule.expected).then(reason).otherwise(nw.lit(rule.name))


def _is_waived(mapping: Mapping, reason: str) -> nw.Expr:
    """Whether a row of a correction says that this rule is waived for it; no other file has a say in it."""
    if mapping.corrects is None:
        return nw.lit(False)
    # Inside a JSON text every quote is escaped, so that this can only be a key and its value.
    return nw.col("rescued").fill_null("").str.contains(f'"waives":"{reason}"', literal=True)


def cleaned_invoice() -> nw.Expr:
    """The invoice number by which rows supersede each other, from the delivered one."""
    return _text("invoice_no")


def _text(column: str) -> nw.Expr:
    """Trimmed text without NUL characters, which PostgreSQL cannot hold; nothing left is null."""
    trimmed = nw.col(column).str.replace_all("\x00", "", literal=True).str.strip_chars(NOT_TEXT)
    return nw.when(trimmed != "").then(trimmed)


def _upper(text: nw.Expr) -> nw.Expr:
    """Text in upper case; as it is where engines differ in what that means."""
    return nw.when(text.str.contains(NOT_UPPERED)).then(text).otherwise(text.str.to_uppercase())


def _number(column: str, decimal: str) -> nw.Expr:
    """Trimmed text with a point before the fraction; a point where the mapping has a comma makes it no number."""
    text = _text(column)
    if decimal == ".":
        return text
    return text.str.replace_all(".", "?", literal=True).str.replace_all(",", ".", literal=True)


def _customer_id(text: nw.Expr) -> nw.Expr:
    """A number that passed through a float column (`13085.0`) without its fraction."""
    return nw.when(text.str.contains(WHOLE_NUMBER_OF_A_FLOAT)).then(_before_point(text)).otherwise(text)


def _quantity(text: nw.Expr) -> nw.Expr:
    """Whole numbers that fit 32 bits as Int32, anything else null."""
    plain, other = _plain_or_other(text, PLAIN_QUANTITY)
    digits = nw.when(other.str.contains(QUANTITY)).then(_before_point(other).str.strip_chars_start("+"))
    number = nw.coalesce(plain, digits).cast(nw.Int64)
    return nw.when(number.abs() <= MAX_QUANTITY).then(number).cast(nw.Int32)


def _unit_price(text: nw.Expr) -> nw.Expr:
    """Decimal text as Decimal(18, 4), rounded half away from zero; anything else null."""
    plain, other = _plain_or_other(text, PLAIN_PRICE)
    return nw.coalesce(plain.cast(nw.Decimal(18, 4)), _rounded(other))


def _rounded(text: nw.Expr) -> nw.Expr:
    """Decimal text with a sign, or of any number of digits after the point, as Decimal(18, 4); anything else null."""
    digits, fraction = _before_point(text).str.strip_chars_start("+-"), _after_point(text)
    decimals = nw.concat_str(fraction, nw.lit("0000")).str.slice(0, 4)
    truncated = nw.concat_str(nw.lit("0"), digits, nw.lit("."), decimals)
    magnitude = nw.when(text.str.contains(PRICE)).then(truncated).cast(nw.Decimal(18, 4))
    one_up = nw.lit("0.0001").cast(nw.Decimal(18, 4))
    rounded = nw.when(fraction.str.slice(4, 1) >= "5").then(magnitude + one_up).otherwise(magnitude)
    return nw.when(text.str.starts_with("-")).then(-rounded).otherwise(rounded).cast(nw.Decimal(18, 4))


def _plain_or_other(text: nw.Expr, plain: str) -> tuple[nw.Expr, nw.Expr]:
    """The text where it matches a pattern, and where it does not; null elsewhere, over which functions cost nothing."""
    is_plain = text.str.contains(plain)
    return nw.when(is_plain).then(text), nw.when(~is_plain).then(text)


def _before_point(text: nw.Expr) -> nw.Expr:
    return text.str.replace_all("[.].*", "")


def _after_point(text: nw.Expr) -> nw.Expr:
    """What stands after the point, empty without one."""
    return text.str.replace_all("^[^.]*[.]?", "")


def _starts_with_any(column: str, prefixes: Sequence[str]) -> nw.Expr:
    """Whether the column starts with one of the prefixes; false for null."""
    if not prefixes:
        return nw.lit(False)
    return nw.any_horizontal(
        *(nw.col(column).fill_null("").str.starts_with(prefix) for prefix in prefixes), ignore_nulls=False
    )


def _line_type(codes: Sequence[CodeRule]) -> nw.Expr:
    """The first rule that matches the stock code; `other` where none does."""
    line_type = nw.lit("other")
    for rule in reversed(codes):
        line_type = nw.when(_matches(rule)).then(nw.lit(rule.line_type)).otherwise(line_type)
    return line_type


def _matches(rule: CodeRule) -> nw.Expr:
    code = nw.col("stock_code").fill_null("")
    condition = _starts_with_any("stock_code", rule.prefixes)
    if rule.exact:
        condition = condition | code.is_in(rule.exact)
    if rule.pattern:
        condition = condition | code.str.contains(rule.pattern)
    return condition

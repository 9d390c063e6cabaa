"""The rules of sale lines, each declared once: what is expected of a row, what becomes of one that breaks it, advice.

Add a rule as one entry of `RULES`; docs/quality.md says how. Expectations are written on Narwhals, on the columns of
`transforms/sales.py:judge_sales`: typed values, `is_*`, and the delivered text as `raw_*`. Judging and counting stay
out (`transforms/sales.py`, `transforms/rules.py`), and so does what a table may hold (its contract).
"""

from dataclasses import dataclass
from typing import Literal

import narwhals as nw

Severity = Literal["warn", "drop", "fail"]

IMPLAUSIBLE_PRICE, IMPLAUSIBLE_QUANTITY = 10_000, 10_000
"""In the shop's currency, and in units: of the million lines of the public data 22 and 9 have more."""


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule of sale lines.

    Attributes:
        name: where it drops rows the reason of those rejects; else its check, a sentence that is true while it holds.
        columns: what it looks at; shown with the rows that break it.
        severity: `drop` rejects the row, where no rule before it does; `warn` keeps it, and is judged on the lines that
            are left; `fail` stops the run before anything is written, and is judged on every row with a day that no
            later delivery restates.
        expected: true of a good row; a row of which it is false or null breaks the rule.
        broken_when: the same in words, of a row that breaks it.
        advice: what to do about such rows.
        dimension: of `drop`, the dimension of quality in whose score such rows are faults; of `warn` and `fail` the one
            they tell of, for no score counts them. None where they are no faults.
        tolerated_pct: of `warn` and `fail`: the share of a day's rows that may break it.
        row_advice: of `drop`: what can be done about one such row with `retail rejects`.
    """

    name: str
    columns: tuple[str, ...]
    severity: Severity
    expected: nw.Expr
    broken_when: str
    advice: str
    dimension: Literal["completeness", "accuracy", "uniqueness", "validity"] | None
    tolerated_pct: int = 0
    row_advice: str = ""


SUPERSEDED = Rule(
    "superseded",
    ("invoice_no", "sale_date"),
    "drop",
    ~nw.col("is_restated"),
    "a later delivery restates the invoice of that day",
    "Nothing: a correction. If it was none, give part files a batch id.",
    None,
    row_advice="nothing: a later delivery restates its invoice",
)
DUPLICATE_LINE = Rule(
    "duplicate_line",
    ("invoice_no", "stock_code", "quantity", "unit_price"),
    "drop",
    nw.col("keeps_repeats") | (nw.col("repeat_no") == 1),
    "an equal row of the same delivery came before",
    'Sent twice: nothing. A till that writes one row a scan: `repeats = "keep"` in the mapping.',
    "uniqueness",
    row_advice=(
        "leave it, if the line was written twice; release it, if the thing was sold twice. If the "
        'retailer never writes a line twice, have repeats = "keep" in the mapping'
    ),
)
ACROSS_ROWS = (SUPERSEDED, DUPLICATE_LINE)
"""Judged on all rows of a day together, after the rules that a row breaks by itself."""

RULES: tuple[Rule, ...] = (
    Rule(
        "missing_invoice",
        ("invoice_no",),
        "drop",
        ~nw.col("invoice_no").is_null(),
        "the invoice number is empty",
        "Have the file sent again; of a renamed column, add the new name to the mapping.",
        "completeness",
        row_advice="amend it with the invoice it belongs to: --set invoice_no=…",
    ),
    Rule(
        "missing_stock_code",
        ("stock_code",),
        "drop",
        ~nw.col("stock_code").is_null(),
        "the product code is empty",
        "Have the file sent again; of a renamed column, add the new name to the mapping.",
        "completeness",
        row_advice="amend it with the product's code: --set stock_code=…",
    ),
    Rule(
        "invalid_quantity",
        ("quantity",),
        "drop",
        nw.col("quantity") != 0,
        "not a whole number that fits 32 bits, or 0",
        "A removed invoice (0): nothing. Another number format: `decimal` in the mapping. Else have the row corrected.",
        "validity",
        row_advice="amend it with a whole number other than 0: --set quantity=…",
    ),
    Rule(
        "invalid_price",
        ("unit_price", "quantity"),
        "drop",
        ~nw.col("line_amount").is_null(),
        "not plain decimal text, or the amount does not fit 14 digits before the point",
        "Another number format: `decimal` in the mapping. Else have the row corrected.",
        "validity",
        row_advice="amend it with a plain decimal number, or with a smaller amount: --set unit_price=…",
    ),
    Rule(
        "invalid_date",
        ("invoice_date",),
        "drop",
        ~nw.col("sale_date").is_null(),
        "unreadable, before the platform's first day, or later than the day after the delivery",
        "Another format: `date_formats` in the mapping. Older data: `RETAIL_FIRST_DAY`. Else have the row corrected.",
        "validity",
        row_advice=(
            "amend it with a date that the mapping reads, not before the platform's first day and not "
            "after the delivery: --set invoice_date=…"
        ),
    ),
    Rule(
        "adjustment",
        ("invoice_no", "unit_price"),
        "drop",
        ~nw.col("is_adjustment") & (nw.col("unit_price") >= 0),
        "the invoice's prefix says so (`A`), or a negative price",
        "Nothing: bookkeeping, no sale. If they are sales: `prefixes` in the mapping.",
        "validity",
        row_advice=(
            "leave it, if it corrects a balance; release it, if it is a sale. A negative price is "
            "none: amend price and quantity"
        ),
    ),
    Rule(
        "zero_price",
        ("unit_price",),
        "drop",
        nw.col("unit_price") > 0,
        "price 0 after rounding to 4 places",
        "Free goods and write-offs, if there are as many as always: nothing. Else have the prices sent.",
        "validity",
        row_advice=(
            "leave it, if the thing was written off or given away; if it was sold, amend it with the price that was "
            "paid: --set unit_price=…. A line has a price above 0, so as it is it can be none"
        ),
    ),
    Rule(
        "test_line",
        ("stock_code",),
        "drop",
        ~nw.col("is_test"),
        "the stock code's prefix says so (`TEST`)",
        "Nothing. If they are sales: `prefixes` in the mapping.",
        "validity",
        row_advice="leave it, if it is a test; if a thing was sold, amend it with its code: --set stock_code=…",
    ),
    *ACROSS_ROWS,
    Rule(
        "numbers_are_readable",
        ("quantity", "unit_price"),
        "fail",
        ~nw.col("quantity").is_null() & ~nw.col("unit_price").is_null(),
        "quantity or price cannot be read as a number, of more than half of a day's rows",
        "The mapping does not fit the file: correct its `decimal` and `columns`, or have the day sent again.",
        "validity",
        tolerated_pct=50,
    ),
    Rule(
        "descriptions_are_given",
        ("stock_code", "description"),
        "warn",
        ~nw.col("description").is_null(),
        "the description is empty",
        "A few: nothing, the product's other lines name it. A whole file: the column's name is missing in the mapping.",
        "completeness",
    ),
    Rule(
        "stock_codes_are_known",
        ("stock_code", "line_type"),
        "warn",
        nw.col("line_type") != "other",
        "the table of codes in the mapping says nothing of the product code, or `other`",
        "Add the code to `codes` in the mapping; until then it counts as no product.",
        "validity",
    ),
    Rule(
        "cancellations_take_back",
        ("invoice_no", "quantity"),
        "warn",
        ~nw.col("is_cancelled") | (nw.col("quantity") < 0),
        "the line of a cancelled invoice has a positive quantity, so that it adds to revenue",
        "Ask the shop: a correction of a cancellation is right, a lost sign is sent again.",
        "accuracy",
    ),
    Rule(
        "prices_are_plausible",
        ("stock_code", "unit_price"),
        "warn",
        nw.col("unit_price") <= IMPLAUSIBLE_PRICE,
        f"the price is more than {IMPLAUSIBLE_PRICE:,}",
        "Fees and manual entries: nothing. A product: a slipped point or another currency; have the line corrected.",
        "accuracy",
    ),
    Rule(
        "quantities_are_plausible",
        ("stock_code", "quantity"),
        "warn",
        nw.col("quantity").abs() <= IMPLAUSIBLE_QUANTITY,
        f"more than {IMPLAUSIBLE_QUANTITY:,} units, sold or returned",
        "Look whether the order was meant; if it was not, have the invoice sent again without it.",
        "accuracy",
    ),
)
"""Of those that drop rows, in the order of judgement: the first that a row breaks is its reason."""


def rules_that(severity: Severity) -> tuple[Rule, ...]:
    """The rules of a severity, in their order."""
    return tuple(rule for rule in RULES if rule.severity == severity)

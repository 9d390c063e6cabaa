"""What a feature is, and the table contract that a list of features makes.

A feature is declared once, with its rule beside its formula in words: columns, rules, documentation and values derive
from it. The declarations are `customer_features.py` and `product_features.py`; the rows that a rule sums up are
prepared in `transforms/features.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Money

UNITS: dict[str, pl.DataType] = {
    "count": pl.Int64(),
    "days": pl.Int64(),
    "mean days": pl.Float64(),
    "mean count": pl.Float64(),
    "hour": pl.Float64(),
    "money": pl.Decimal(18, 4),
    "share": pl.Float64(),
    "ratio": pl.Float64(),
    "nats": pl.Float64(),
    "month": pl.Int64(),
    "text": pl.String(),
}
"""Unit of a feature -> its type. Money is in the shop's currency; a share is from 0 to 1."""

WINDOWS = {"30d": 30, "90d": 90, "180d": 180, "365d": 365}
"""Name of a window -> its days, the last of which is the day itself; the window `all` has all days so far."""

FEATURES = "features"
"""The basis of a feature that is computed from features above it, and not from rows."""

Rule = Callable[[pl.Expr], pl.Expr]
"""Makes the expression of a feature from the condition that a row lies in the window."""


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        name: its column.
        basis: the rows it sums up, one of those that `transforms/features.py` prepares, or `FEATURES`.
        window: which of their days count, in words.
        unit: one of `UNITS`.
        formula: how it is computed, in words.
        description: what it says.
        expression: the formula as a rule: over the rows of one customer or product, or over columns (`FEATURES`).
        is_zero_without_rows: whether no row means 0 (counts, sums) and not null.
    """

    name: str
    basis: str
    window: str
    unit: str
    formula: str
    description: str
    expression: pl.Expr
    is_zero_without_rows: bool = False

    @property
    def dtype(self) -> pl.DataType:
        """Its type."""
        return UNITS[self.unit]

    @property
    def documentation(self) -> str:
        """What it says, the days that count, and the formula."""
        return f"{self.description} Window: {self.window}. Formula: {self.formula}."


def in_window(window: str) -> pl.Expr:
    """Whether a row's `age`, in days before the day, lies in a window."""
    return pl.col("age") < WINDOWS[window] if window in WINDOWS else pl.col("age") >= 0


def window_in_words(window: str) -> str:
    """The days of a window."""
    return f"last {WINDOWS[window]} days" if window in WINDOWS else "all days so far"


def windowed(
    name: str, windows: Sequence[str], basis: str, unit: str, formula: str, description: str, rule: Rule
) -> list[Feature]:
    """The same feature over several windows; its name ends in that of the window. Counts and sums are 0 without rows.

    Args:
        name: what comes before the window's name.
        windows: names of windows.
        basis, unit, formula, description: as of `Feature`.
        rule: makes the expression.
    """
    return [
        Feature(
            f"{name}_{window}",
            basis,
            window_in_words(window),
            unit,
            formula,
            description,
            rule(in_window(window)),
            is_zero_without_rows=unit in ("count", "money") and formula.startswith(("count(", "sum(")),
        )
        for window in windows
    ]


def derived(name: str, window: str, unit: str, formula: str, description: str, expression: pl.Expr) -> Feature:
    """A feature that is computed from features above it."""
    return Feature(name, FEATURES, window, unit, formula, description, expression)


def ratio(part: str, whole: str) -> pl.Expr:
    """One column over another; null where the other is 0 or null."""
    over = pl.col(whole).cast(pl.Float64)
    return pl.when(over > 0).then(pl.col(part).cast(pl.Float64) / over)


def feature_contract(
    name: str, page: str, keys: dict[str, tuple[pl.DataType, str]], features: Iterable[Feature]
) -> type[Contract]:
    """The contract of a table of features.

    Args:
        name: of the class.
        page: its docstring.
        keys: the columns before the features: name -> type and description.
        features: the others, in order.
    """
    fields = {key: (dtype, pa.Field(description=text)) for key, (dtype, text) in keys.items()}
    fields |= {feature.name: (feature.dtype, _field(feature)) for feature in features}
    members = {column: field for column, (_, field) in fields.items()}
    annotations = {column: _annotation(dtype) for column, (dtype, _) in fields.items()}
    return type(name, (Contract,), {"__doc__": page, "__module__": __name__, "__annotations__": annotations, **members})


def _annotation(dtype: pl.DataType) -> object:
    return Money if isinstance(dtype, pl.Decimal) else type(dtype)


def _field(feature: Feature) -> Any:
    rules: dict[str, dict[str, Any]] = {
        "share": {"in_range": {"min_value": 0, "max_value": 1}},
        "count": {"ge": 0},
        "days": {"ge": 0},
        "month": {"in_range": {"min_value": 1, "max_value": 12}},
    }
    return pa.Field(
        nullable=not feature.is_zero_without_rows,
        description=feature.documentation,
        **rules.get(feature.unit, {}),
    )

"""Every transformation on Narwhals, on every engine: odd rows go in at bronze, and each step gives equal rows.

The steps are run on Polars, one after the other; then each of them again on the other engine, with the same input.
"""

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import narwhals as nw
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_platform import transforms
from retail_platform.contracts import (
    BRONZE_SALES,
    CUSTOMER_MONTHS,
    DAY_QUALITY,
    DIM_CUSTOMER,
    DIM_INVOICE,
    DIM_PRODUCT,
    FACT_SALE,
    PRODUCT_CATEGORY,
    PRODUCT_MONTHS,
    SILVER_REJECTS,
    SILVER_SALES,
    Table,
)
from retail_platform.lakehouse.mapping import load_mappings
from retail_platform.reference import read_country_aliases
from retail_platform.settings import Settings
from retail_platform.transforms.countries import alias_keys, country_keys, unmapped_spellings, unplaced_lines
from retail_platform.transforms.currencies import add_amounts, daily_rates
from retail_platform.transforms.customers import (
    customer_dimension,
    customer_months,
    customer_versions,
    score_customers,
)
from retail_platform.transforms.day_quality import quality_of_days
from retail_platform.transforms.facts import fact_sales, invoices, monthly_keys
from retail_platform.transforms.keys import line_ids, surrogate_keys
from retail_platform.transforms.products import (
    lower_median_price,
    most_frequent_description,
    product_dimension,
    product_months,
    product_versions,
)
from retail_platform.transforms.sales import (
    judge_sales,
    reject_repeats,
    reject_superseded,
    silver_lines,
    silver_rejects,
    type_rows,
)
from retail_platform.transforms.versions import carry_forward, with_intervals, with_missing, with_previous
from retail_platform_tests.transforms.conftest import Engine, on_polars

Frames = dict[str, pl.DataFrame]

SHOP = load_mappings(Settings(mappings=None))["online_retail"]
TILL = SHOP.model_copy(update={"name": "till", "decimal": ",", "repeats": "keep"})
CORRECTIONS = SHOP.model_copy(update={"name": "corrections", "corrects": "online_retail"})
MAPPINGS = {"shop": SHOP, "till": TILL, "corrections": CORRECTIONS}
DELIVERIES = pl.DataFrame(
    [("a#0", "a", 0, "shop"), ("b#0", "b", 1, "till"), ("b#1", "b", 2, "shop"), ("c#0", "c", 3, "corrections")],
    schema={"delivery_id": pl.String, "file_sha256": pl.String, "delivery_rank": pl.Int64, "mapping": pl.String},
    orient="row",
)
OPEN_MONTH = date(2011, 3, 1)
DAYS = [None, date(2009, 12, 1), date(2010, 1, 31), date(2011, 1, 4), date(2011, 1, 5), date(2011, 2, 28), OPEN_MONTH]

ODD = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8", max_codepoint=0x2FFF), max_size=4),
    st.sampled_from(["", " ", "\x00", "\u00a0", "ß\x00", "İ", "a\u2028", "6\x85", "'", "\\", "e\u0301", "ΑΣ", "😀"]),
)


def column(*texts: str) -> st.SearchStrategy[str | None]:
    """The first text, most of the time, so that rows become lines; or another one, or anything."""
    return st.one_of(*[st.just(texts[0])] * 5, *[st.sampled_from(texts)] * 6, ODD)


ROW = st.fixed_dictionaries(
    {
        "invoice_no": column("1", " 1 ", "2", "C3", "A4", "C", "536365.0"),
        "stock_code": column("84077", "84077", "85123a", "POST", "M", "TEST1", "gift_1", "22016", "10\t02", "grün1"),
        "description": column("RED  HEART", "RED HEART", "BLUE", "a\tb", "\nBLUE"),
        "quantity": column("1", "1", "6", "+6", "-3", "6.0", "6.5", "1e3", "0", "2147483647", "2147483648", "-0012.00"),
        "unit_price": column(
            *("2.55", "2.55", "2,55", "0", "-1", "2.55545", "2.55544999", "1e2", ".5", "18.", "0.00005", "1.2.3"),
            *("9999999999999.99995", "99999999999999", "0000.1", "+3", "-0.00004", "46566.1287"),
        ),
        "customer_id": column("13085", "13085.0", "13086", "13087", "x.0"),
        "country": column("United Kingdom", " united kingdom", "EIRE", "Unspecified", "Nowhere", "İreland"),
        "delivery": st.integers(0, DELIVERIES.height - 1),
        "sale_date": st.sampled_from(DAYS),
        "time": st.sampled_from([0, 1, 3_600_000_000, 36_000_500_000, 86_399_999_999]),
        "rescued": st.sampled_from([None, None, "", '{"waives":"duplicate_line"}', '{"waives":"adjustment"}', "x"]),
    }
)


@st.composite
def deliveries(draw: st.DrawFn, fewest: int) -> pl.DataFrame:
    """Bronze rows; some of them twice."""
    rows = draw(st.lists(ROW, min_size=fewest, max_size=fewest + 25))
    again = draw(st.lists(st.sampled_from(rows), max_size=8))
    return pl.DataFrame([bronze_row(n, row) for n, row in enumerate([*rows, *again], 1)], BRONZE_SALES.schema)


def bronze_row(number: int, row: dict[str, Any]) -> dict[str, Any]:
    day, delivery = row["sale_date"], DELIVERIES.row(row["delivery"], named=True)
    return {name: row.get(name) for name in BRONZE_SALES.schema} | {
        "sale_month": day and day.replace(day=1),
        "invoiced_at": day and datetime(day.year, day.month, day.day) + timedelta(microseconds=row["time"]),
        "invoice_date": str(day),
        "delivery_id": delivery["delivery_id"],
        "file_sha256": delivery["file_sha256"],
        "source_file": f"{delivery['file_sha256']}.csv",
        "source_row": number,
        "ingested_at": datetime(2011, 4, 1, 12, 30, tzinfo=UTC),
    }


class Step(NamedTuple):
    """A transformation, the frames it takes (results go by the name of the transformation) and what else it takes."""

    transformation: Callable[..., nw.LazyFrame[Any]]
    frames: tuple[str, ...]
    arguments: tuple[Any, ...] = ()
    table: Table | None = None
    keywords: Mapping[str, Any] = {}

    def run(self, hand: Engine, frames: Frames) -> pl.DataFrame:
        """The result, as the table it is for has it; the rows are handed over in another order than they came in."""
        given = (frames[name] if name in frames else DERIVED[name](frames) for name in self.frames)
        handed = (hand(frame.sample(fraction=1, shuffle=True, seed=7)) for frame in given)
        result = self.transformation(*handed, *self.arguments, **self.keywords).collect("polars").to_native()
        return result.select(*self.table.schema).cast(self.table.schema) if self.table else result


RATES = daily_rates(
    pl.DataFrame(
        [
            (day, code, Decimal(rate))
            for day in (date(2009, 12, 1), date(2011, 1, 4), date(2011, 2, 25))
            for code, rate in (("EUR", "1"), ("USD", "1.2725"), ("GBP", "0.8234"), ("JPY", "161.123456"))
        ],
        {"fixed_on": pl.Date, "currency_code": pl.String, "per_eur": pl.Decimal(18, 6)},
        orient="row",
    ),
    *(date(2009, 12, 1), OPEN_MONTH),
)
CATEGORIES = pl.DataFrame(
    [
        ("RED HEART", "Decor", "Hearts", 0.9, True, None, "Hearts"),
        ("BLUE", "unclassified", "unclassified", 0.1, False, "Blue & Co", None),
    ],
    PRODUCT_CATEGORY.schema,
    orient="row",
)
GIVEN: Frames = {
    "deliveries": DELIVERIES,
    "spellings": alias_keys(read_country_aliases()),
    "rates": RATES,
    "categories": CATEGORIES,
}
DERIVED: Mapping[str, Callable[[Frames], pl.DataFrame]] = {
    "ranked": lambda frames: frames["bronze"].join(DELIVERIES, on=["delivery_id", "file_sha256"]).drop("mapping"),
    "starts": lambda frames: frames["product_versions"].select("stock_code", "description", "valid_from"),
    "months": lambda frames: frames["silver_lines"].select("sale_month").unique(),
    "countries": lambda frames: frames["country_keys"].select("country", "country_key").unique(),
}
STEPS = (
    Step(type_rows, ("ranked",), (TILL,)),
    Step(reject_superseded, ("type_rows",)),
    Step(reject_repeats, ("reject_superseded",)),
    Step(judge_sales, ("bronze", "deliveries"), (MAPPINGS,)),
    Step(silver_lines, ("judge_sales",), table=SILVER_SALES),
    Step(silver_rejects, ("judge_sales",), table=SILVER_REJECTS),
    Step(quality_of_days, ("silver_lines", "silver_rejects"), table=DAY_QUALITY),
    Step(most_frequent_description, ("silver_lines",), ("name",)),
    Step(lower_median_price, ("silver_lines",), ("price",)),
    Step(product_months, ("silver_lines",), table=PRODUCT_MONTHS),
    Step(product_versions, ("product_months",), (OPEN_MONTH,)),
    Step(product_dimension, ("product_versions", "product_months", "categories"), table=DIM_PRODUCT),
    Step(customer_months, ("silver_lines",), table=CUSTOMER_MONTHS),
    Step(score_customers, ("customer_months",), (date(2009, 12, 1), date(2011, 2, 1))),
    Step(customer_versions, ("customer_months",), (OPEN_MONTH,)),
    Step(customer_dimension, ("customer_versions",), table=DIM_CUSTOMER),
    Step(carry_forward, ("product_dimension",), (["recommended_price", "description"], "stock_code")),
    Step(with_previous, ("product_dimension",), (["recommended_price", "valid_to"], "stock_code")),
    Step(with_intervals, ("starts",), ("stock_code",)),
    Step(with_missing, ("starts",), (DIM_PRODUCT.schema,), table=DIM_PRODUCT),
    Step(country_keys, ("silver_lines", "spellings")),
    Step(unmapped_spellings, ("silver_lines", "spellings")),
    Step(unplaced_lines, ("silver_lines", "spellings")),
    Step(invoices, ("silver_lines",), table=DIM_INVOICE),
    Step(monthly_keys, ("customer_dimension", "months"), ("customer_id", "customer_key")),
    Step(
        add_amounts,
        ("silver_lines", "rates"),
        keywords={"amount": "line_amount", "currencies": ("EUR", "USD", "JPY")},
    ),
    Step(
        fact_sales,
        ("silver_lines", "product_dimension", "customer_dimension", "countries", "rates"),
        table=FACT_SALE,
    ),
    Step(surrogate_keys, ("judge_sales",), (["invoice_no", "sale_date", "invoiced_at", "is_restated"], "key")),
    Step(line_ids, ("judge_sales",), (["description", "unit_price", "source_row", "quantity"], "id")),
)


def on_one_engine(bronze: pl.DataFrame, steps: Sequence[Step] = STEPS) -> Frames:
    """What each step gives on Polars, by name."""
    frames = GIVEN | {"bronze": bronze}
    for step in steps:
        frames[step.transformation.__name__] = step.run(on_polars, frames)
    return frames


def assert_equal_rows(step: Step, found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Engines may differ in the order of rows, and in the types of what no table keeps: widths, another name of UTC."""
    wide = {
        cs.integer(): pl.Int64,
        cs.decimal(): pl.Decimal(38, 10),
        cs.datetime(time_zone="*"): pl.Datetime("us", "UTC"),
    }
    found, expected = (frame.cast(wide).sort(pl.all()) for frame in (found.select(expected.columns), expected))
    try:
        assert_frame_equal(found, expected)
    except AssertionError as error:
        error.add_note(
            f"{step.transformation.__name__}: {found.rows(named=True)} instead of {expected.rows(named=True)}"
        )
        raise


class Examples(NamedTuple):
    """How many deliveries are generated, of at least how many rows."""

    deliveries: int
    rows: int


EXAMPLES = {"duckdb": Examples(15, 8), "pandas": Examples(15, 8), "spark": Examples(1, 60)}
"""A delivery costs Spark 20 seconds, however few its rows, most of them to plan how they are judged."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation:FutureWarning")
@pytest.mark.parametrize("other_engine", EXAMPLES, indirect=True)
def test_every_step_gives_equal_rows_on_every_engine(other_engine: Engine, request: pytest.FixtureRequest) -> None:
    examples = EXAMPLES[request.node.callspec.params["other_engine"]]

    # One that fails is not made smaller: the step and its rows are told, and each try would take as long again.
    @settings(
        deadline=None,
        max_examples=examples.deliveries,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    @given(deliveries(examples.rows))
    def agrees(bronze: pl.DataFrame) -> None:
        expected = on_one_engine(bronze)
        assert expected["silver_lines"].height + expected["silver_rejects"].height == bronze.height
        for step in STEPS:
            assert_equal_rows(step, step.run(other_engine, expected), expected[step.transformation.__name__])

    agrees()


def transformations() -> Iterator[Callable[..., Any]]:
    """The public functions of transforms/ that take a frame of any engine."""
    for found in iter_modules(transforms.__path__):
        module = import_module(f"{transforms.__name__}.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                hints = get_type_hints(function)
                hints.pop("return", None)
                if any(nw.LazyFrame in alternatives(hint) for hint in hints.values()):
                    yield function


def alternatives(hint: Any) -> set[Any]:
    """The classes that an annotation allows."""
    each = getattr(hint, "__constraints__", ()) or get_args(hint) or (hint,)
    return {get_origin(kind) or kind for kind in (hint, *each) if isinstance(kind, Hashable)}


def test_every_transformation_is_compared() -> None:
    assert {step.transformation for step in STEPS} == set(transformations())

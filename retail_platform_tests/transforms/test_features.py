"""Features of a handful of lines, worked out by hand; nothing later counts; what a check finds; the page of docs."""

import math
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

import retail_platform
from retail_platform.contracts import CUSTOMER_FEATURE, PRODUCT_CATEGORY, PRODUCT_FEATURE, Table
from retail_platform.contracts.customer_features import CATEGORIES, CUSTOMER_FEATURES
from retail_platform.contracts.features import FEATURES, Feature
from retail_platform.contracts.product_features import PRODUCT_FEATURES
from retail_platform.transforms.feature_checks import features_are_finite, point_in_time_holds
from retail_platform.transforms.features import MAKERS, customer_features, product_features
from retail_platform.transforms.quality import contract_holds, keys_are_unique
from retail_platform_tests.transforms.frames import silver_lines
from retail_platform_tests.warehouse.gold_frames import shaped

DAY = date(2011, 6, 30)
CHECKOUT = Path(retail_platform.__file__).parents[1]
PAGE = CHECKOUT / "docs" / "features.md"
DECLARED = [(CUSTOMER_FEATURE, CUSTOMER_FEATURES), (PRODUCT_FEATURE, PRODUCT_FEATURES)]
SAID = shaped(
    PRODUCT_CATEGORY,
    pl.DataFrame(
        {
            "description": ["RED MUG", "BLUE BAG", "HEART"],
            "category": ["Dining", "Bags & Purses", "Home Decor"],
            "subcategory": ["Mugs", "Bags", "Ornaments"],
            "brand": [None, None, "ACME"],
        }
    ),
)


def sold(days_before: int, invoice: str, code: str, quantity: int, price: str, **more: Any) -> dict[str, Any]:
    day = DAY - timedelta(days=days_before)
    line = {"sale_date": day, "invoiced_at": datetime(day.year, day.month, day.day, 10, 30)}
    return line | {"invoice_no": invoice, "stock_code": code, "quantity": quantity, "unit_price": Decimal(price)} | more


LINES = silver_lines(
    sold(400, "1", "MUG", 10, "2.00", description="RED MUG"),
    sold(100, "2", "MUG", 5, "2.00", description="RED MUG"),
    sold(100, "2", "BAG", 1, "10.00", description="BLUE BAG"),
    sold(100, "2", "POST", 1, "4.00", line_type="postage"),
    sold(20, "3", "MUG", 10, "1.00", description="RED MUG"),
    sold(20, "3", "HEART", 2, "5.00", description="HEART", country="France"),
    sold(10, "C4", "MUG", -4, "1.00", description="RED MUG", is_cancelled=True),
    sold(0, "5", "MUG", 1, "2.50", description="RED MUG", customer_id="14000"),
    sold(5, "6", "MUG", 3, "2.00", description="RED MUG", customer_id=None),
    sold(3, "C7", "BAG", -1, "9.00", customer_id="15000", is_cancelled=True),
    sold(-1, "8", "BAG", 7, "1.00", description="HEART"),
    sold(-40, "9", "MUG", 7, "9.00", description="BLUE BAG", customer_id="16000", country="EIRE"),
)
"""Customer 13085 with three orders of 20 each and a return; one with a single order, on the day; a guest; one who only
returns; and two lines after the day."""


def of_customer(as_of: date = DAY, customer_id: str = "13085") -> dict[str, Any]:
    return customer_features(LINES.lazy(), SAID, as_of).row(
        by_predicate=pl.col("customer_id") == customer_id, named=True
    )


def of_product(stock_code: str, as_of: date = DAY) -> dict[str, Any]:
    return product_features(LINES.lazy(), SAID, as_of).row(by_predicate=pl.col("stock_code") == stock_code, named=True)


CUSTOMER_ANSWERS: dict[str, Any] = {
    "order_count_30d": 1,
    "order_count_180d": 2,
    "order_count_365d": 2,
    "order_count_all": 3,
    "purchase_amount_30d": Decimal(20),
    "purchase_amount_all": Decimal(60),
    "previous_purchase_amount_90d": Decimal(20),
    "previous_purchase_amount_365d": Decimal(20),
    "amount_trend_90d": 1.0,
    "unit_count_all": 28,
    "mean_order_value_all": Decimal(20),
    "order_value_sd_all": Decimal(0),
    "order_value_cv_all": 0.0,
    "days_since_first_order": 400,
    "days_since_last_order": 20,
    "active_month_count_365d": 2,
    "mean_order_lines_all": 1.666667,
    "max_order_products_all": 2,
    "single_product_order_share_all": 0.333333,
    "mean_line_units_all": 5.6,
    "mean_gap_days_all": 190.0,
    "max_gap_days_all": 300,
    "last_gap_days_all": 80,
    "gap_days_sd_all": round(math.sqrt(2) * 110, 6),
    "silence_ratio": round(20 / 190, 6),
    "mean_order_hour_all": 10.5,
    "morning_order_share_all": 1.0,
    "wednesday_order_share_all": 0.333333,
    "friday_order_share_all": 0.333333,
    "q4_order_share_all": 0.0,
    "product_count_90d": 2,
    "product_count_all": 3,
    "new_product_share_90d": 0.5,
    "repeat_product_count_all": 1,
    "top_product_share_all": round(40 / 60, 6),
    "top_category_all": "Dining",
    "top_category_share_all": round(40 / 60, 6),
    "dining_share_all": round(40 / 60, 6),
    "bags_purses_share_all": round(10 / 60, 6),
    "party_share_all": 0.0,
    "category_entropy_all": round(-(4 / 6) * math.log(4 / 6) - 2 * (1 / 6) * math.log(1 / 6), 6),
    "median_unit_price_all": Decimal(2),
    "mean_price_level_all": round((1 + 1 + 1 + 0.5 + 1) / 5, 6),
    "discounted_line_share_all": 0.2,
    "return_count_all": 1,
    "return_amount_365d": Decimal(4),
    "return_amount_ratio_365d": 0.1,
    "return_unit_ratio_all": round(4 / 28, 6),
    "days_since_last_return": 10,
    "postage_amount_all": Decimal(4),
    "net_amount_all": Decimal(60),
    "country": "United Kingdom",
    "country_count_all": 2,
}

PRODUCT_ANSWERS: dict[str, Any] = {
    "description": "RED MUG",
    "category": "Dining",
    "brand": None,
    "unit_count_30d": 14,
    "unit_count_all": 29,
    "sales_amount_all": Decimal("48.50"),
    "order_count_365d": 4,
    "active_day_count_all": 5,
    "previous_unit_count_90d": 5,
    "days_since_first_sale": 400,
    "days_since_last_sale": 0,
    "customer_count_all": 2,
    "repeat_customer_count_all": 1,
    "top_customer_amount_all": Decimal(40),
    "guest_order_share_all": 0.2,
    "mean_basket_lines_all": 1.4,
    "mean_basket_value_all": Decimal("13.70"),
    "alone_order_share_all": 0.6,
    "median_unit_price_all": Decimal(2),
    "max_unit_price_all": Decimal("2.50"),
    "last_unit_price": Decimal("2.50"),
    "discounted_line_share_all": 0.2,
    "peak_month_all": 6,
    "peak_month_share_all": round(14 / 29, 6),
    "return_unit_count_all": 4,
    "price_trend_90d": round((18.5 / 14) / 2, 6),
    "sales_rank_365d": 1,
    "sales_share_365d": round(28.5 / 48.5 / (28.5 + 10 + 10) * 48.5, 6),
    "top_customer_share_all": round(40 / 48.5, 6),
}


def test_customers_by_hand() -> None:
    found = of_customer()
    assert {name: found[name] for name in CUSTOMER_ANSWERS} == CUSTOMER_ANSWERS


def test_products_by_hand() -> None:
    found = of_product("MUG")
    assert {name: found[name] for name in PRODUCT_ANSWERS} == PRODUCT_ANSWERS


def test_who_has_features() -> None:
    """Guests, those who only return, and who comes later have none; nor has a code that is no product."""
    assert customer_features(LINES.lazy(), SAID, DAY)["customer_id"].to_list() == ["13085", "14000"]
    assert product_features(LINES.lazy(), SAID, DAY)["stock_code"].to_list() == ["BAG", "HEART", "MUG"]


def test_a_single_order_has_no_gaps_spread_or_trend() -> None:
    found = of_customer(customer_id="14000")
    unknown = ("mean_gap_days_all", "order_value_sd_all", "amount_trend_90d", "silence_ratio", "days_since_last_return")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert (found["active_day_count_all"], found["return_amount_all"], found["days_since_first_order"]) == (1, 0, 0)


def test_moving_the_day_changes_what_it_must_and_nothing_else_knows_of_it() -> None:
    day = DAY - timedelta(days=21)
    before = of_customer(day)
    moved = {"order_count_all": 2, "purchase_amount_all": 40, "days_since_last_order": 79, "return_count_all": 0}
    assert {name: before[name] for name in moved} == moved
    assert before["product_count_all"] == 2
    assert before["mean_gap_days_all"] == 300
    assert before["last_order_value_all"] == 20
    assert of_product("MUG", day)["max_unit_price_all"] == 2
    # The day after, the bag is sold under another name; only then it is one.
    assert [of_product("BAG", DAY + timedelta(days=n))["description"] for n in (0, 1)] == ["BLUE BAG", "HEART"]
    assert of_customer(DAY + timedelta(days=1))["order_count_all"] == 4


some_lines = st.lists(
    st.builds(
        sold,
        st.integers(-60, 420),
        st.sampled_from(["1", "2", "C3"]),
        st.sampled_from(["MUG", "BAG", "HEART", "POST"]),
        st.sampled_from([-3, -1, 1, 2, 12]),
        st.sampled_from(["0.0001", "1.25", "2", "999999.99"]),
        customer_id=st.sampled_from(["13085", "14000", None]),
        description=st.sampled_from(["RED MUG", "BLUE BAG", "XQZV", None]),
        country=st.sampled_from(["EIRE", "France", None]),
        line_type=st.sampled_from(["product", "product", "product", "postage"]),
        is_cancelled=st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(rows=some_lines, days_before=st.integers(0, 100))
def test_features_of_a_day_use_nothing_later(rows: list[dict[str, Any]], days_before: int) -> None:
    """Of all lines, of those up to the day, and of these in another order: the same features, and sound ones."""
    lines, day = silver_lines(*rows), DAY - timedelta(days=days_before)
    cut = lines.filter(pl.col("sale_date") <= day)
    for table, make in MAKERS.items():
        frame = make(lines.lazy(), SAID, day)
        assert frame.equals(make(cut.lazy(), SAID, day))
        assert frame.equals(make(cut.reverse().lazy(), SAID, day))
        for finding in (
            contract_holds(table, frame),
            keys_are_unique(table, frame),
            features_are_finite(table, frame),
            point_in_time_holds(table, frame, cut.partition_by("sale_date")),
        ):
            assert finding.passed, finding


@pytest.mark.parametrize("table", MAKERS, ids=str)
def test_features_made_in_parts_are_those_made_at_once(table: Table) -> None:
    def cut(rows: pl.LazyFrame, by: str) -> AbstractContextManager[list[pl.LazyFrame]]:
        members = rows.select(pl.col(by).unique()).collect().to_series()
        return nullcontext([rows.filter(pl.col(by).eq_missing(member)) for member in members])

    make = MAKERS[table]
    assert make(LINES.lazy(), SAID, DAY, cut).equals(make(LINES.lazy(), SAID, DAY))


@pytest.mark.parametrize("table", MAKERS, ids=str)
def test_the_checks_fail(table: Table) -> None:
    frame = MAKERS[table](LINES.lazy(), SAID, DAY)
    cut = LINES.filter(pl.col("sale_date") <= DAY)
    later = MAKERS[table](LINES.lazy(), SAID, DAY + timedelta(days=40)).with_columns(as_of_date=pl.lit(DAY))
    assert not point_in_time_holds(table, later, [cut]).passed
    assert not point_in_time_holds(table, frame.head(1), [cut]).passed
    assert not features_are_finite(table, frame.with_columns(return_unit_ratio_all=pl.lit(math.inf))).passed


@pytest.mark.parametrize(("table", "features"), DECLARED, ids=("customers", "products"))
def test_features_are_many_and_each_says_what_it_is(table: Table, features: tuple[Feature, ...]) -> None:
    assert len(features) >= {CUSTOMER_FEATURE: 70, PRODUCT_FEATURE: 30}[table]
    assert list(table.schema)[2:] == [feature.name for feature in features]
    assert len({(str(feature.expression), feature.basis) for feature in features}) == len(features)
    for feature in features:
        assert table.descriptions[feature.name] == feature.documentation
        assert all((feature.formula, feature.window, feature.description.endswith(".")))


def test_categories_are_those_of_the_taxonomy() -> None:
    taxonomy = pl.read_csv(CHECKOUT / "dbt_project" / "seeds" / "product_taxonomy.csv")
    assert list(CATEGORIES) == [*sorted(taxonomy["category"].unique()), "unclassified"]


@pytest.mark.parametrize(("table", "features"), DECLARED, ids=("customers", "products"))
def test_the_page_has_the_declaration(table: Table, features: tuple[Feature, ...]) -> None:
    rows = ["| Feature | Window | Formula | What it says | Unit |", "| --- | --- | --- | --- | --- |"]
    for feature in features:
        formula = feature.formula if feature.basis == FEATURES else f"{feature.formula}, of each {feature.basis}"
        rows.append(f"| `{feature.name}` | {feature.window} | {formula} | {feature.description} | {feature.unit} |")
    assert "\n".join(rows) in PAGE.read_text("utf-8")

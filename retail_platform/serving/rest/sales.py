"""Sale lines as analysts know them: the fact with the names of its product, invoice, country and customer.

Lives here: the columns and filters of sales, their pages by number (v1) and by cursor with aggregations and the quality
of the days (v2), and groups of them. Figures that need more than sums over the lines that were asked for are marts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from retail_platform.contracts.silver import LINE_TYPES
from retail_platform.serving.access.principals import Role, principal_of, require
from retail_platform.serving.catalogue import Catalogue, Column
from retail_platform.serving.countries import read_country
from retail_platform.serving.direct import DirectRoute
from retail_platform.serving.query.measures import column_of
from retail_platform.serving.query.shapes import (
    Aggregate,
    Aggregation,
    Condition,
    Function,
    Measure,
    Operator,
    Path,
    Question,
    Value,
)
from retail_platform.serving.query.sql import FEWEST_CUSTOMERS
from retail_platform.serving.rest.answers import NOT_MODIFIED, Kept, MakePlan, Plan, answer, planned
from retail_platform.serving.rest.grammar import Filters, Reader
from retail_platform.serving.rest.models import (
    DECIMALS,
    GroupPagination,
    KeysetPagination,
    list_model,
    row_model,
)
from retail_platform.serving.rest.pages import Listing, check_size, keyset_page, numbered_page, only_object
from retail_platform.serving.rest.parameters import (
    Amount,
    Day,
    Flag,
    JsonObject,
    Paging,
    Parameters,
    TextList,
    Whole,
    openapi_parameters,
    read_parameters,
)

SALES = "fact_sale"
QUALITY = "day_quality"

COLUMNS: Mapping[str, Path] = {
    "sale_id": ("sale_id",),
    "sale_date": ("sale_date",),
    "invoiced_at": ("invoiced_at",),
    "invoice_no": ("invoice", "invoice_no"),
    "stock_code": ("product", "stock_code"),
    "description": ("product", "description"),
    "country_code": ("country", "country_code"),
    "country_name": ("country", "country_name"),
    "customer_id": ("customer", "customer_id"),
    "quantity": ("quantity",),
    "unit_price": ("unit_price",),
    "total_amount": ("total_amount",),
    "total_amount_eur": ("total_amount_eur",),
    "total_amount_usd": ("total_amount_usd",),
    "line_type": ("line_type",),
    "is_cancelled": ("is_cancelled",),
}
"""Columns of a sale, and where they are from fact_sale."""

COMPARISONS: Mapping[str, tuple[Path, Operator]] = {
    "date_from": (("sale_date",), Operator.GTE),
    "date_to": (("sale_date",), Operator.LTE),
    "stock_code": (("product", "stock_code"), Operator.EQ),
    "invoice_no": (("invoice", "invoice_no"), Operator.EQ),
    "customer_id": (("customer", "customer_id"), Operator.EQ),
    "line_type": (("line_type",), Operator.EQ),
    "is_cancelled": (("is_cancelled",), Operator.EQ),
    "min_amount": (("total_amount",), Operator.GTE),
    "max_amount": (("total_amount",), Operator.LTE),
}
"""Filters that compare a column with what is written; those of countries read names."""

COUNTRY = "Country by its name, ISO 3166 code (GB, GBR) or a usual short form (UK, USA, EIRE)."

EXAMPLE_ROW = {
    "sale_id": "2f1c6a34-9f0e-5a7b-8a52-6a7d8b1f0c11",
    "sale_date": "2011-12-09",
    "invoiced_at": "2011-12-09T09:15:00",
    "invoice_no": "581483",
    "stock_code": "23843",
    "description": "PAPER CRAFT , LITTLE BIRDIE",
    "country_code": "GB",
    "country_name": "United Kingdom",
    "customer_id": "16446",
    "quantity": 80995,
    "unit_price": 2.08,
    "total_amount": 168469.6,
    "total_amount_eur": 197467.7372,
    "total_amount_usd": 264290.8195,
    "line_type": "product",
    "is_cancelled": False,
}


def _line_type(written: str) -> str:
    if written not in LINE_TYPES:
        raise ValueError(f"expected one of {', '.join(LINE_TYPES)}")
    return written


LineType = Annotated[str, AfterValidator(_line_type), WithJsonSchema({"type": "string", "enum": list(LINE_TYPES)})]


MASKED = "Whoever may not see customers gets their numbers masked, and cannot filter or sort by them."

QUALITY_NOTE = (
    "`include_aggregations=true` adds figures over all pages, and how many rows of the days asked for were delivered, "
    "accepted and rejected, for what reasons; those are of the whole days, whatever else is filtered by."
)

NUMBERED_EXAMPLE = {
    "data": [EXAMPLE_ROW],
    "pagination": {"page": 1, "size": 50, "total": 452881, "pages": 9058, "has_next": True, "has_prev": False},
    "filters_applied": {"date_from": "2011-01-01", "country": "UK", "country_code": "GB"},
}

KEYSET_EXAMPLE = {
    "data": [EXAMPLE_ROW],
    "pagination": {"size": 50, "next_cursor": "WyI5ZjM1Il0", "has_next": True},
    "filters_applied": {"date_from": "2011-01-01", "countries": ["GB", "US"]},
}

ANALYTICS = {
    "group_by": ["country_name"],
    "measures": ["sum:total_amount", "count_distinct:invoice_no"],
    "filters": {"date_from": "2011-01-01", "line_type": "product"},
    "having": {"sum": {"total_amount": {"gt": 10000}}},
    "sort": ["sum:total_amount:desc"],
    "limit": 10,
}

ANALYTICS_EXAMPLE = {
    "data": [{"country_name": "United Kingdom", "sum_total_amount": 7231015.11, "count_distinct_invoice_no": 18019}],
    "pagination": {"page": 1, "size": 10, "has_next": True},
    "filters_applied": {"date_from": "2011-01-01", "line_type": "product"},
}


class SalesFilters(Parameters):
    """Filters of sales; all that are given have to hold."""

    date_from: Day | None = Field(None, description="First day, included.", examples=["2011-01-01"])
    date_to: Day | None = Field(None, description="Last day, included.")
    country: str | None = Field(None, description=COUNTRY, examples=["UK"])
    countries: TextList | None = Field(None, description=f"Any of these. {COUNTRY}", examples=[["UK", "US"]])
    stock_code: str | None = Field(None, description="Product code.")
    invoice_no: str | None = Field(None, description="Invoice number.")
    customer_id: str | None = Field(None, description="Customer number; needs the role analyst.")
    line_type: LineType | None = Field(None, description="What the line sells.")
    is_cancelled: Flag | None = Field(None, description="Whether the invoice is a cancellation.")
    min_amount: Amount | None = Field(None, description="Least total_amount.")
    max_amount: Amount | None = Field(None, description="Greatest total_amount.")


class SalesPage(SalesFilters, Paging):
    """Parameters of GET /api/v1/sales."""

    sort: TextList = Field(
        ("sale_date:desc",), description="Columns of a sale, as `total_amount:desc`.", examples=[["total_amount:desc"]]
    )


class SalesKeyset(SalesFilters):
    """Parameters of GET /api/v2/sales."""

    size: Whole = Field(50, ge=1, description="Rows of a page.")
    cursor: str | None = Field(None, description="`pagination.next_cursor` of the page before; none for the first.")
    sort: TextList = Field(("sale_date:desc",), description="Columns of a sale, as `total_amount:desc`.")
    include_aggregations: Flag = Field(
        False, description="Add sums and counts over all pages, and the quality of the days asked for."
    )


class SalesAnalytics(Parameters):
    """The body of POST /api/v2/sales/analytics."""

    group_by: TextList = Field((), description="Columns of a sale, or dotted: `date.month_name`, `product.category`.")
    measures: TextList = Field(
        ("sum:total_amount", "count"),
        description="`count`, or sum, avg, min, max, count_distinct with a column.",
        min_length=1,
    )
    filters: SalesFilters = Field(SalesFilters(), description="Lines that count.")
    having: JsonObject | None = Field(None, description="Filter of groups: aggregate, column, operator, value.")
    sort: TextList = Field((), description="Columns of group_by and measures, as `sum:total_amount:desc`.")
    limit: int = Field(100, ge=1, strict=True, description="Most groups.")


class Aggregations(BaseModel):
    """Figures over all lines that pass the filters, on whatever page."""

    line_count: int = Field(description="Lines.")
    net_revenue: Amount | None = Field(description="Sum of total_amount, cancellations included; null without a line.")
    unit_count: int | None = Field(description="Sum of quantity, cancellations included; null without a line.")
    avg_line_amount: Amount | None = Field(description="Average of total_amount; null without a line.")
    order_count: int = Field(description="Uncancelled invoices.")
    customer_count: int | None = Field(
        description="Customers with an uncancelled line; guests are not among them. "
        f"Null below {FEWEST_CUSTOMERS} for whoever may not see customers."
    )


ALL_LINES = (
    Aggregate("line_count", Measure(Function.COUNT)),
    Aggregate("net_revenue", Measure(Function.SUM, ("total_amount",))),
    Aggregate("unit_count", Measure(Function.SUM, ("quantity",))),
    Aggregate("avg_line_amount", Measure(Function.AVG, ("total_amount",))),
)
UNCANCELLED_LINES = (
    Aggregate("order_count", Measure(Function.COUNT_DISTINCT, ("invoice_key",))),
    Aggregate("customer_count", Measure(Function.COUNT_DISTINCT, ("customer", "customer_id"))),
)
UNCANCELLED = Condition(("is_cancelled",), Operator.EQ)


def router(catalogue: Catalogue, max_page_size: int) -> APIRouter:
    """The routes of sales.

    Args:
        catalogue: the tables served.
        max_page_size: the most rows or groups of an answer.
    """
    routes = APIRouter(tags=["sales"], dependencies=[Depends(require(Role.VIEWER))])
    row, desk = _row_model(catalogue), Kept()

    routes.add_api_route(
        "/api/v1/sales",
        planned("/api/v1/sales", numbered_plans(catalogue, max_page_size)),
        route_class_override=DirectRoute,
        name="list_sales",
        summary="Sale lines, page by page",
        description=f"Lines that pass all filters, in any order, with their total. {MASKED}\n\n{DECIMALS}",
        response_model=list_model("SalesPageAnswer", row),
        responses={200: {"content": {"application/json": {"example": NUMBERED_EXAMPLE}}}, **NOT_MODIFIED},
        openapi_extra={"parameters": openapi_parameters(SalesPage, max_page_size)},
    )
    quality = row_model("DataQuality", _quality_columns(catalogue), optional=True)
    figures = {"aggregations": (Aggregations | None, None), "data_quality": (quality | None, None)}
    routes.add_api_route(
        "/api/v2/sales",
        planned("/api/v2/sales", keyset_plans(catalogue, max_page_size)),
        route_class_override=DirectRoute,
        name="list_sales_by_cursor",
        summary="Sale lines from a cursor on, with aggregations",
        description=f"Every page costs the same, however far it is. {QUALITY_NOTE} {MASKED}\n\n{DECIMALS}",
        response_model=list_model("SalesKeysetAnswer", row, KeysetPagination, **figures),
        responses={200: {"content": {"application/json": {"example": KEYSET_EXAMPLE}}}, **NOT_MODIFIED},
        openapi_extra={"parameters": openapi_parameters(SalesKeyset, max_page_size)},
    )

    @routes.post(
        "/api/v2/sales/analytics",
        summary="Groups of sale lines",
        response_model=list_model("SalesAnalyticsAnswer", dict[str, Any], GroupPagination),
        responses={200: {"content": {"application/json": {"example": ANALYTICS_EXAMPLE}}}},
    )
    async def analyse_sales(request: Request, asked: Annotated[SalesAnalytics, Body(examples=[ANALYTICS])]) -> Response:
        """Measures of the lines that pass the filters, by group; `having` filters groups, `sort` takes measures too."""
        check_size(asked.limit, max_page_size, "limit")
        sees_customers = principal_of(request).sees_customers
        reader = sales_reader(catalogue, sees_customers)
        plan = reader.groups(
            read_filters(reader, asked.filters),
            group_by=asked.group_by,
            measures=asked.measures,
            having=asked.having,
            sort=asked.sort,
            page=1,
            size=asked.limit,
            names=("group_by", "measures"),
        )
        return await answer(request, plan, desk)

    return routes


def sales_reader(catalogue: Catalogue, sees_customers: bool) -> Reader:
    """Reads names of sales' columns."""
    return Reader(catalogue, catalogue[SALES], sees_customers, COLUMNS)


def read_filters(reader: Reader, asked: SalesFilters) -> Filters:
    """The filters of sales that were given.

    Args:
        reader: of `sales_reader`.
        asked: what was written.

    Raises:
        QuestionError: a country is unknown, or a value cannot be compared.
        NotAllowedError: a customer is asked for by somebody who may not see customers.
    """
    filters = Filters()
    for name, (path, operator) in COMPARISONS.items():
        if (value := getattr(asked, name)) is not None:
            filters = reader.compare(filters, name, path, operator.value, value)
    if asked.country is not None:
        filters = _of_countries(filters, "country", (asked.country,))
    if asked.countries is not None:
        filters = _of_countries(filters, "countries", asked.countries)
    return filters


def numbered_plans(catalogue: Catalogue, max_page_size: int) -> MakePlan:
    """Makes plans of the query strings of GET /api/v1/sales."""

    def make_plan(query_string: str, sees_customers: bool) -> Plan:
        asked = read_parameters(SalesPage, query_string)
        check_size(asked.size, max_page_size)
        listing = _listing(sales_reader(catalogue, sees_customers), asked, asked.sort)
        return numbered_page(catalogue, listing, asked.page, asked.size)

    return make_plan


def keyset_plans(catalogue: Catalogue, max_page_size: int) -> MakePlan:
    """Makes plans of the query strings of GET /api/v2/sales."""

    def make_plan(query_string: str, sees_customers: bool) -> Plan:
        asked = read_parameters(SalesKeyset, query_string)
        check_size(asked.size, max_page_size)
        reader = sales_reader(catalogue, sees_customers)
        listing = _listing(reader, asked, asked.sort)
        plan = keyset_page(catalogue, listing, asked.cursor or "", asked.size)
        if not asked.include_aggregations:
            return plan

        def body(answers: Sequence[bytes], rows: Sequence[int]) -> bytes:
            return plan.body(answers, rows)[:-1] + _figures(*answers[1:]) + b"}"

        return replace(plan, body=body, kept=_questions(reader, listing.filters, asked))

    return make_plan


def _listing(reader: Reader, asked: SalesFilters, sort: Sequence[str]) -> Listing:
    # Customer numbers are shown to everybody, and masked for those who may not see them.
    outputs = tuple(Value(name, path) for name, path in COLUMNS.items())
    return Listing(SALES, outputs, read_filters(reader, asked), reader.sort(sort))


def _of_countries(filters: Filters, name: str, written: Sequence[str]) -> Filters:
    countries = [read_country(each, name) for each in written]
    condition = Condition(("country_key",), Operator.IN)
    codes = [country.code or country.name for country in countries]
    applied: dict[str, Any] = {name: codes}
    if name == "country":
        applied = {"country": written[0], "country_code": codes[0]}
    return filters.also(condition, (tuple(country.key for country in countries),), **applied)


def _questions(reader: Reader, filters: Filters, asked: SalesFilters) -> tuple[Question, ...]:
    """What `_figures` is made of: figures of all lines, of the uncancelled, and of the quality of the days."""
    uncancelled = filters.also(UNCANCELLED, (False,))
    days = SalesFilters(date_from=asked.date_from, date_to=asked.date_to)
    quality = replace(reader, table=reader.catalogue[QUALITY])
    outputs = tuple(Aggregate(name, Measure(Function.SUM, (name,))) for name in _summed(reader.catalogue))
    return (
        _over_all(SALES, ALL_LINES, filters),
        _over_all(SALES, UNCANCELLED_LINES, uncancelled),
        _over_all(QUALITY, (Aggregate("day_count", Measure(Function.COUNT)), *outputs), read_filters(quality, days)),
    )


def _over_all(table: str, outputs: tuple[Aggregate, ...], filters: Filters) -> Question:
    return Question(Aggregation(table, (), outputs, filters.filter), (*filters.values, 1))


def _figures(all_lines: bytes, uncancelled: bytes, quality: bytes) -> bytes:
    """Members of the answer, with a comma before each."""
    rows = orjson.loads(quality)[0]
    share = b"null"
    if rows["delivered_rows"]:
        share = b"%.4f" % (100 * rows["accepted_rows"] / rows["delivered_rows"])
    aggregations = only_object(all_lines)[:-1] + b"," + only_object(uncancelled)[1:]
    return b',"aggregations":%s,"data_quality":%s,"acceptance_pct":%s}' % (
        aggregations,
        only_object(quality)[:-1],
        share,
    )


def _summed(catalogue: Catalogue) -> list[str]:
    """Columns of the days' quality that add up over days."""
    return [name for name in catalogue[QUALITY].columns if name.endswith(("_rows", "_amount"))]


def _quality_columns(catalogue: Catalogue) -> dict[str, Column]:
    columns = catalogue[QUALITY].columns
    # Over no day, a sum is null.
    return {name: replace(columns[name], nullable=True) for name in (*_summed(catalogue), "acceptance_pct")}


def _row_model(catalogue: Catalogue) -> type[BaseModel]:
    columns = {name: column_of(catalogue, catalogue[SALES], path) for name, path in COLUMNS.items()}
    return row_model("Sale", columns)

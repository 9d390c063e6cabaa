"""The marts that people ask for by name: dashboard, sales over time, segments, products, countries, cohorts.

A report is an entry of `REPORTS`: a mart, what narrows it, an order. What it shows is the mart's matter, so a report
computes nothing; any other question about a mart is asked of its own route (`tables`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, create_model

from retail_platform.serving.access.principals import Role, require
from retail_platform.serving.catalogue import Catalogue, ServedTable
from retail_platform.serving.countries import read_country
from retail_platform.serving.direct import DirectRoute
from retail_platform.serving.query.cursors import full_sort
from retail_platform.serving.query.shapes import Lookup, Operator, Output, Page, Question, Rows, Sort, Value
from retail_platform.serving.rest.answers import NOT_MODIFIED, MakePlan, Plan, planned
from retail_platform.serving.rest.grammar import Filters, Reader
from retail_platform.serving.rest.models import DECIMALS, list_model, row_model
from retail_platform.serving.rest.pages import Listing, check_size, numbered_page
from retail_platform.serving.rest.parameters import Day, Parameters, Whole, openapi_parameters, read_parameters

BASE = "/api/v1/datamart"

MOST_FIGURES = 1000
"""Of the overview; there are some dozens."""

Metric = Literal["revenue", "units", "orders", "customers", "return_rate", "avg_unit_price"]

METRICS: Mapping[Metric, str] = {
    "revenue": "net_revenue",
    "units": "unit_count",
    "orders": "order_count",
    "customers": "customer_count",
    "return_rate": "return_rate_pct",
    "avg_unit_price": "avg_unit_price",
}
"""What products are ranked by, and its column."""


class ReportParameters(Parameters):
    """Parameters of every report."""

    page: Whole = Field(1, ge=1, le=10**9, description="Number of the page, from 1.")


class RowParameters(ReportParameters):
    """Of a report without an order to choose."""

    size: Whole | None = Field(None, ge=1, description="Rows of a page; as many as a page may have.")


class PeriodParameters(RowParameters):
    """Of sales over time."""

    granularity: Annotated[
        Literal["daily", "weekly", "monthly", "quarterly", "yearly"],
        BeforeValidator(str.lower),
        AfterValidator(str.upper),
    ] = Field("monthly", validate_default=True, description="Length of a period; weeks begin on Monday.")
    date_from: Day | None = Field(None, description="Only periods that begin on this day or later.")
    date_to: Day | None = Field(None, description="Only periods that begin on this day or earlier.")


class ProductParameters(ReportParameters):
    """Of products."""

    metric: Metric = Field("revenue", description="What is best; the largest comes first.")
    top_n: Whole = Field(20, ge=1, description="How many products; `page=2` are those behind them.")
    abc_class: Literal["A", "B", "C"] | None = Field(
        None, description="Only products of this class: A brings the first 80 % of revenue, B up to 95 %, C the rest."
    )


class CountryParameters(RowParameters):
    """Of countries."""

    country: str | None = Field(None, description="Name, ISO 3166 code or usual short form (UK, USA, EIRE).")
    date_from: Day | None = Field(None, description="Only months that begin on this day or later.")
    date_to: Day | None = Field(None, description="Only months that begin on this day or earlier.")


class CohortParameters(RowParameters):
    """Of cohorts."""

    date_from: Day | None = Field(None, description="Only cohorts whose month begins on this day or later.")
    date_to: Day | None = Field(None, description="Only cohorts whose month begins on this day or earlier.")
    max_months: Whole | None = Field(None, ge=0, le=10_000, description="Only this many months since the first.")


@dataclass(frozen=True)
class Report:
    """A mart under a name of its own.

    Attributes:
        path: below `BASE`.
        comparisons: parameter -> column and operator; `country` is read as a name.
        sort: of the rows; of products, the metric's column.
    """

    path: str
    table: str
    summary: str
    description: str
    parameters: type[ReportParameters] = RowParameters
    comparisons: Mapping[str, tuple[str, Operator]] = field(default_factory=dict)
    sort: tuple[str, ...] = ()


def _days(column: str) -> dict[str, tuple[str, Operator]]:
    return {"date_from": (column, Operator.GTE), "date_to": (column, Operator.LTE)}


REPORTS = (
    Report(
        "sales/analytics",
        "sales_by_period",
        "Sales over time",
        "The measures of each period, oldest first; customers and orders are counted anew in each.",
        PeriodParameters,
        {"granularity": ("granularity", Operator.EQ), **_days("period")},
        ("period",),
    ),
    Report(
        "customers/segments",
        "customer_segments",
        "Segments of customers",
        "Segments by recency, frequency and monetary value, with what their customers bought so far.",
        sort=("rfm_segment",),
    ),
    Report(
        "customers/cohorts",
        "cohort_retention",
        "Cohorts of customers",
        "How many of the customers who first ordered in a month came back in each month since.",
        CohortParameters,
        {**_days("cohort_month"), "max_months": ("month_number", Operator.LTE)},
        ("cohort_month", "month_number"),
    ),
    Report(
        "products/performance",
        "product_performance",
        "The best products",
        "Products by a metric, the best first.",
        ProductParameters,
        {"abc_class": ("abc_class", Operator.EQ)},
    ),
    Report(
        "countries/sales",
        "country_sales",
        "Sales by country and month",
        "The measures of each country and month, oldest first.",
        CountryParameters,
        {"country": ("country_key", Operator.EQ), **_days("sale_month")},
        ("sale_month", "country_name"),
    ),
)


def router(catalogue: Catalogue, max_page_size: int) -> APIRouter:
    """The routes of the dashboard and of each report; to be included before those of the marts themselves.

    Args:
        catalogue: the tables served.
        max_page_size: the most rows of an answer.
    """
    routes = APIRouter(tags=["datamart"], dependencies=[Depends(require(Role.VIEWER))])
    path = f"{BASE}/dashboard/overview"
    plan = _overview(catalogue)

    def overview(query_string: str, sees_customers: bool) -> Plan:
        read_parameters(Parameters, query_string)
        return plan

    routes.add_api_route(
        path,
        planned(path, overview),
        route_class_override=DirectRoute,
        name="dashboard_overview",
        summary="The key figures, and how new they are",
        description=f"Each figure of a period beside the same of the period before.\n\n{DECIMALS}",
        response_model=_overview_model(catalogue),
        responses=NOT_MODIFIED,
    )
    for report in REPORTS:
        path = f"{BASE}/{report.path}"
        row = row_model(f"{_camel(report.path)}Row", catalogue[report.table].columns)
        routes.add_api_route(
            path,
            planned(path, _plans(catalogue, report, max_page_size)),
            route_class_override=DirectRoute,
            name=report.path.replace("/", "_"),
            summary=report.summary,
            description=f"{report.description}\n\n{DECIMALS}",
            responses=NOT_MODIFIED,
            response_model=list_model(_camel(report.path), row),
            openapi_extra={"parameters": openapi_parameters(report.parameters, max_page_size)},
        )
    return routes


def _plans(catalogue: Catalogue, report: Report, max_page_size: int) -> MakePlan:
    table = catalogue[report.table]

    def make_plan(query_string: str, sees_customers: bool) -> Plan:
        asked = read_parameters(report.parameters, query_string)
        reader = Reader(catalogue, table, sees_customers)
        sort, size = report.sort, max_page_size
        if isinstance(asked, ProductParameters):
            sort, size = (f"{METRICS[asked.metric]}:desc",), asked.top_n
            check_size(size, max_page_size, "top_n")
        elif isinstance(asked, RowParameters) and asked.size is not None:
            size = asked.size
            check_size(size, max_page_size)
        outputs = reader.outputs(tuple(table.columns), "columns")
        listing = Listing(table.name, outputs, _filters(reader, report, asked), reader.sort(sort))
        return numbered_page(catalogue, listing, asked.page, size)

    return make_plan


def _filters(reader: Reader, report: Report, asked: ReportParameters) -> Filters:
    filters = Filters()
    for name, (column, operator) in report.comparisons.items():
        value = written = getattr(asked, name)
        if value is None:
            continue
        if name == "country":
            value = read_country(written, name).key
        filters = reader.compare(filters, name, (column,), operator.value, value, written)
    return filters


def _overview(catalogue: Catalogue) -> Plan:
    """The key figures as a list, and the one row of freshness."""
    figures, freshness = catalogue["kpi_overview"], catalogue["freshness"]
    order = full_sort(figures, (Sort(("period_position",)), Sort(("metric_position",))))
    rows = Page(figures.name, (Rows("data", _all(figures)),), sort=order, bare=True)
    row = Page(freshness.name, (Rows("data", _all(freshness)),), sort=full_sort(freshness, ()))

    def body(answers: Sequence[bytes], _: Sequence[int]) -> bytes:
        return b'{"data":{"metrics":%s,"freshness":%s}}' % (answers[0], answers[1])

    return Plan((Question(rows, (MOST_FIGURES,)), Question(Lookup(row), (1,))), body)


def _all(table: ServedTable) -> tuple[Output, ...]:
    return tuple(Value(name, (name,)) for name in table.columns)


def _overview_model(catalogue: Catalogue) -> type[BaseModel]:
    metric = row_model("OverviewMetric", catalogue["kpi_overview"].columns)
    freshness = row_model("Freshness", catalogue["freshness"].columns)
    overview = create_model("Overview", metrics=(list[metric], ...), freshness=(freshness | None, ...))  # type: ignore[valid-type, arg-type]
    return create_model("DashboardOverview", data=(overview, ...))


def _camel(path: str) -> str:
    return "".join(part.capitalize() for part in path.split("/"))

"""The sales of a month as a report for people: headline figures, days and countries, in Excel or HTML.

Lives here: what the report holds and how it looks. Stays out: how the figures come about (the marts), and where the
file is kept (`defs`).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any

import psycopg
import xlsxwriter

FIGURES = {
    "net_revenue": "Net revenue, £",
    "gross_revenue": "Gross revenue, £",
    "cancelled_amount": "Cancelled, £",
    "order_count": "Orders",
    "cancelled_order_count": "Cancelled orders",
    "customer_count": "Customers",
    "new_customer_count": "New customers",
    "avg_order_value": "Average order, £",
    "previous_month_change_pct": "Change on the month before, %",
    "previous_year_change_pct": "Change on the year before, %",
}
"""Columns of marts.monthly_sales and what the report calls them."""

DAYS = """
    select sale_date, net_revenue, order_count, customer_count from marts.daily_sales
    where sale_date >= %(month)s and sale_date < %(month)s + interval '1 month' order by sale_date
"""
COUNTRIES = """
    select country_name, net_revenue, net_revenue_share_pct, order_count, customer_count from marts.country_sales
    where sale_month = %(month)s order by net_revenue desc, country_name
"""

MONEY, PERCENT = "#,##0.00", "0.00"

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; color: #1f2933; }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100%; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #d9dee4; }
th:first-child, td:first-child { text-align: left; }
"""


class NoMonthError(Exception):
    """The marts hold nothing of the month; the message says which months they hold."""


@dataclass(frozen=True)
class SalesReport:
    """What the marts say of a month.

    Attributes:
        month: its first day.
        figures: (name, value), in the order of `FIGURES`.
        days: (day, net revenue, orders, customers), each day with sales.
        countries: (name, net revenue, share in percent, orders, customers), the largest first.
    """

    month: date
    figures: Sequence[tuple[str, Any]]
    days: Sequence[tuple[Any, ...]]
    countries: Sequence[tuple[Any, ...]]


DAY_HEADER = ("Day", "Net revenue, £", "Orders", "Customers")
COUNTRY_HEADER = ("Country", "Net revenue, £", "Share, %", "Orders", "Customers")


def read_report(connection: psycopg.Connection, month: date) -> SalesReport:
    """Read a month from the marts, all from one publication.

    Args:
        connection: without an open transaction.
        month: its first day.

    Raises:
        NoMonthError: the marts hold no sale of that month.
    """
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    given = {"month": month}
    with connection.transaction():
        # The names are those of FIGURES above.
        found = connection.execute(
            f"select {', '.join(FIGURES)} from marts.monthly_sales where sale_month = %(month)s",  # noqa: S608
            given,
        ).fetchone()
        if found is None:
            held = connection.execute("select min(sale_month), max(sale_month) from marts.monthly_sales").fetchone()
            first, last = held or (None, None)
            raise NoMonthError(f"There are no sales of {month:%Y-%m}; the marts hold {first} to {last}.")
        days = connection.execute(DAYS, given).fetchall()
        countries = connection.execute(COUNTRIES, given).fetchall()
    return SalesReport(month, list(zip(FIGURES.values(), found, strict=True)), days, countries)


def report_file(report: SalesReport, format: str) -> bytes:
    """A report as a file.

    Args:
        report: the report.
        format: `xlsx` or `html`.
    """
    return REPORT_FORMATS[format](report)


def _workbook(report: SalesReport) -> bytes:
    file = io.BytesIO()
    options = {"in_memory": True, "default_date_format": "yyyy-mm-dd"}
    with closing(xlsxwriter.Workbook(file, options)) as workbook:
        formats = {name: workbook.add_format({"num_format": name}) for name in (MONEY, PERCENT)}
        bold = workbook.add_format({"bold": True})
        overview = workbook.add_worksheet("Overview")
        overview.set_column(0, 0, 30)
        overview.write(0, 0, f"Sales of {report.month:%B %Y}", bold)
        for row, (name, value) in enumerate(report.figures, start=2):
            overview.write_string(row, 0, name)
            overview.write(row, 1, value, formats[MONEY] if "£" in name else None)
        _write_sheet(workbook, "Days", DAY_HEADER, report.days, bold, formats[MONEY])
        _write_sheet(workbook, "Countries", COUNTRY_HEADER, report.countries, bold, formats[MONEY])
        last = len(report.days)
        chart = workbook.add_chart({"type": "column"})
        chart.add_series(
            {"name": "Net revenue, £", "categories": ["Days", 1, 0, last, 0], "values": ["Days", 1, 1, last, 1]}
        )
        chart.set_legend({"none": True})
        overview.insert_chart("D3", chart)
    return file.getvalue()


def _write_sheet(
    workbook: xlsxwriter.Workbook,
    name: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    bold: Any,
    money: Any,
) -> None:
    sheet = workbook.add_worksheet(name)
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 1, 16, money)
    sheet.write_row(0, 0, header, bold)
    for number, row in enumerate(rows, start=1):
        sheet.write_row(number, 0, row)


def _html(report: SalesReport) -> bytes:
    title = f"Sales of {report.month:%B %Y}"
    tables = [
        _table(("Figure", "Value"), report.figures),
        _table(DAY_HEADER, report.days),
        _table(COUNTRY_HEADER, report.countries),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1>{''.join(tables)}</body></html>\n"
    )
    return page.encode()


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return escape(str(value)) if isinstance(value, str | date) else f"{value:,}"


REPORT_FORMATS: Mapping[str, Callable[[SalesReport], bytes]] = {"xlsx": _workbook, "html": _html}

"""Jobs that make a file for somebody: an export of a table, a report of a month. The API's tasks start them.

Files are written to `<home>/exports/<run id>/` and go after `KEEP_DAYS`, when a later one of these jobs runs. What rows
an export holds is read by `serving`, how the files are made is in `warehouse/`.
"""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from retail_platform.settings import Settings
from retail_platform.warehouse.export import Export, name_and_type, remove_old_folders, save
from retail_platform.warehouse.server import warehouse_database

KEEP_DAYS = 7


class ExportConfig(dg.Config):
    """Which rows of which table, and the kind of file: what `POST /api/v1/exports/{table}` takes."""

    table: str
    format: str = "parquet"
    compression: str = "zstd"
    columns: list[str] = Field([])
    filters: dict[str, Any] = Field({})
    sort: list[str] = Field([])


class ReportConfig(dg.Config):
    """Which month (`2011-11`), and the kind of file (`xlsx` or `html`)."""

    month: str
    format: str = "xlsx"


@dg.op(description="Write the rows of a table to a file.")
def write_export(context: dg.OpExecutionContext, config: ExportConfig, settings: dg.ResourceParam[Settings]) -> None:
    """Write an export, and say how many rows it holds."""
    # Imported here: the code server, which runs all other jobs too, has no use for the catalogue of the API.
    from retail_platform.serving.catalogue import read_catalogue
    from retail_platform.serving.selections import read_selection

    selection = read_selection(read_catalogue(), config.table, config.columns, config.filters, config.sort)
    database = warehouse_database(settings)
    export = Export(database, selection, config.format, config.compression, settings.export_seconds)
    filename, _ = name_and_type(config.table, config.format, config.compression)
    path = save(export.chunks(), _folder(context, settings) / filename)
    context.log.info("%s: %s rows, %s bytes", path, export.rows, path.stat().st_size)


@dg.op(description="Write the sales of a month as a report.")
def write_sales_report(
    context: dg.OpExecutionContext, config: ReportConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Write the report of a month."""
    from retail_platform.warehouse.report import read_report, report_file

    with warehouse_database(settings).connect() as connection:
        report = read_report(connection, date.fromisoformat(f"{config.month}-01"))
    filename = f"sales_report_{config.month}.{config.format}"
    path = save([report_file(report, config.format)], _folder(context, settings) / filename)
    context.log.info("%s: %s bytes", path, path.stat().st_size)


def _folder(context: dg.OpExecutionContext, settings: Settings) -> Path:
    remove_old_folders(settings.exports, KEEP_DAYS)
    return settings.exports / context.run_id


@dg.job(executor_def=dg.in_process_executor, description="A file with rows of a table; a task of the API.")
def export_table() -> None:
    """One step."""
    write_export()


@dg.job(executor_def=dg.in_process_executor, description="A report of a month's sales; a task of the API.")
def sales_report() -> None:
    """One step."""
    write_sales_report()

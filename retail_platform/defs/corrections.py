"""Corrections of rejected rows: the job that sends a row again, and the table of who did it and why."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from retail_platform.contracts import BRONZE_SALES, REJECT_CORRECTION
from retail_platform.defs.landing import FILES
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of, written
from retail_platform.lakehouse.days import stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.rejects.book import RejectError
from retail_platform.rejects.sending import send_rows
from retail_platform.settings import Settings
from retail_platform.transforms.corrections import (
    corrections_know_the_newest_delivery,
    corrections_say_who_and_why,
    read_corrections,
    reject_corrections,
    restated_keys,
)
from retail_platform.transforms.quality import contract_holds, keys_are_unique

CORRECTION = key_of(REJECT_CORRECTION)


@dg.multi_asset(
    name="reject_correction",
    specs=[table_spec(REJECT_CORRECTION, key_of(BRONZE_SALES))],
    check_specs=[
        *check_specs(CORRECTION, *BLOCKING),
        *check_specs(CORRECTION, corrections_say_who_and_why, corrections_know_the_newest_delivery, blocking=False),
    ],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def reject_correction(
    settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Write the corrections that bronze holds."""
    ledger = Ledger(settings)
    files = ledger.corrections()
    days = ledger.delivery_days().join(files, on=["delivery_id", "file_sha256"], how="semi")["sale_date"].drop_nulls()
    rows = lake.scan(BRONZE_SALES, stretches(days))
    told = read_corrections(rows.filter(pl.col("file_sha256").is_in(files["file_sha256"].to_list())).collect())
    frame, keys = reject_corrections(told), restated_keys(rows, ledger.deliveries(), told)
    yield from require(
        CORRECTION, [contract_holds(REJECT_CORRECTION, frame), keys_are_unique(REJECT_CORRECTION, frame)]
    )
    for finding in (corrections_say_who_and_why(frame), corrections_know_the_newest_delivery(keys)):
        yield result_of(finding, CORRECTION, dg.AssetCheckSeverity.WARN)
    yield written(lake, REJECT_CORRECTION, frame, lake.replace(REJECT_CORRECTION, frame))


class CorrectionConfig(dg.Config):
    """Which rows (ids of `retail rejects list`), what is done to them, by whom and why."""

    ids: list[str]
    action: str = Field("amend", description="amend: send with other values; release: waive the rule that drops them.")
    changes: dict[str, str] = Field({}, description="Column -> new text, for every row.")
    by: str
    why: str


@dg.op(description="Send rejected rows again, as a file in landing.")
def send_rejects(
    context: dg.OpExecutionContext, config: CorrectionConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Write the correction, and report its file as one that has arrived."""
    try:
        sent = send_rows(settings, config.ids, **config.model_dump(exclude={"ids"}))
    except RejectError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    days = ", ".join(map(str, sent.days))
    context.log.info("%s: %s rows; the arrival sensor asks for a run of %s", sent.path, len(sent.ids), days)
    metadata = {**config.model_dump(), "file": str(sent.path), "sent": sent.ids, "restated_lines": sent.restated}
    context.log_event(dg.AssetMaterialization(FILES, metadata=metadata))


@dg.job(
    executor_def=dg.in_process_executor,
    description="Rejected rows are sent again, corrected or released. The arrival sensor takes it from there.",
)
def amend_rejects() -> None:
    """One step."""
    send_rejects()

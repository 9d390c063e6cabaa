"""The gold table of corrections: which rejected row was corrected or released, by whom and why."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Instant, Table

CORRECTING = ("amend", "release")
"""What a correction does to a rejected row: other values, or the same ones with a rule waived."""


class RejectCorrection(Contract):
    """One row per rejected row that was sent again, corrected or released: by whom, when, why, and what changed.

    Grain: correction_id.  Source: bronze/sales, the rows of files in landing/corrections.
    Who, why and changes are what the file says. The other lines of the invoice, restated beside it, are not here.
    """

    sale_date: pl.Date = pa.Field(description="Day of the sale, by the corrected row.")
    correction_id: pl.String = pa.Field(unique=True, description="Id of the corrected row: its file, sheet and row.")
    reject_id: pl.String = pa.Field(nullable=True, description="Id of the row that was corrected.")
    reject_reason: pl.String = pa.Field(nullable=True, description="Why that row was left out.")
    action: pl.String = pa.Field(isin=CORRECTING, description="amend: sent with other values; release: a rule waived.")
    waived_rule: pl.String = pa.Field(nullable=True, description="The rule that does not hold for the corrected row.")
    corrected_by: pl.String = pa.Field(nullable=True, description="Who corrected it, in their own words.")
    corrected_at: Instant = pa.Field(nullable=True, description="When, UTC.")
    why: pl.String = pa.Field(nullable=True, description="Why, in the words of who did it.")
    changes: pl.String = pa.Field(
        nullable=True, description="Old and new values; of a customer number only that it changed. Null: none."
    )
    invoice_no: pl.String = pa.Field(nullable=True, description="Invoice number of the corrected row, as sent.")
    stock_code: pl.String = pa.Field(nullable=True, description="Product code of the corrected row, as sent.")
    source_file: pl.String = pa.Field(description="Path of the correction's file relative to landing.")


REJECT_CORRECTION = Table(
    "gold",
    "reject_correction",
    RejectCorrection,
    key=("correction_id",),
)

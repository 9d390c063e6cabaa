"""The gold table of segments over time. The segments themselves are named in `gold.py`, beside `DimCustomer`."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Money, Table
from retail_platform.contracts.gold import SEGMENTS

SCORE = {"min_value": 1, "max_value": 5}


class CustomerSegmentMonth(Contract):
    """One row per customer and closed month since its first line: the segment judged at the month's close.

    Grain: (customer_id, as_of_date).  Source: silver/customer_months.
    Units: amounts in the shop's currency.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month.")
    as_of_date: pl.Date = pa.Field(description="Last day of the closed month; all figures are as of its end.")
    customer_id: pl.String = pa.Field(description="Customer number.")
    rfm_segment: pl.String = pa.Field(isin=SEGMENTS, description="Segment judged at the close of the month.")
    previous_segment: pl.String = pa.Field(
        nullable=True, isin=SEGMENTS, description="Segment of the month before; null in the customer's first month."
    )
    recency_score: pl.Int16 = pa.Field(
        nullable=True, in_range=SCORE, description="1 to 5; null without an order in the twelve months."
    )
    frequency_score: pl.Int16 = pa.Field(
        nullable=True, in_range=SCORE, description="1 to 5; null without an order in the twelve months."
    )
    monetary_score: pl.Int16 = pa.Field(
        nullable=True, in_range=SCORE, description="1 to 5; null without an order in the twelve months."
    )
    order_count: pl.Int64 = pa.Field(ge=0, description="Uncancelled invoices of the month.")
    net_revenue: Money = pa.Field(description="Amount of all lines of the month, cancellations included.")


CUSTOMER_SEGMENT_MONTH = Table(
    "gold",
    "customer_segment_month",
    CustomerSegmentMonth,
    key=("customer_id", "as_of_date"),
    day="as_of_date",
    month="sale_month",
)
"""Its days are the last ones of months, so that a load takes the months that changed and no others."""

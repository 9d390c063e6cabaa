"""The schema of every table, once. Validation, documentation, warehouse tables and served columns derive from it."""

from retail_platform.contracts.base import Contract, Table
from retail_platform.contracts.bronze import BRONZE_DAYS, BRONZE_SALES
from retail_platform.contracts.forecasts import (
    DEMAND_FORECAST,
    FORECAST_BACKTEST,
    REVENUE_ANOMALIES,
    REVENUE_FORECAST,
)
from retail_platform.contracts.gold import (
    CUSTOMER_VALUE,
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_CUSTOMER,
    DIM_DATE,
    DIM_INVOICE,
    DIM_PRODUCT,
    FACT_SALE,
    PRODUCT_CATEGORY,
    PRODUCT_PAIR,
)
from retail_platform.contracts.silver import (
    CUSTOMER_MONTHS,
    PRODUCT_MONTHS,
    SILVER_DAYS,
    SILVER_REJECTS,
    SILVER_SALES,
)

GOLD_TABLES: tuple[Table, ...] = (
    DIM_DATE,
    DIM_COUNTRY,
    DIM_PRODUCT,
    DIM_CUSTOMER,
    DIM_INVOICE,
    FACT_SALE,
    DAY_QUALITY,
    PRODUCT_CATEGORY,
    CUSTOMER_VALUE,
    PRODUCT_PAIR,
    REVENUE_ANOMALIES,
    REVENUE_FORECAST,
    DEMAND_FORECAST,
    FORECAST_BACKTEST,
)
"""The star schema, referenced tables before the tables that reference them; the quality of its days; categories;
analytics; anomalies and forecasts."""

TABLES: tuple[Table, ...] = (
    BRONZE_SALES,
    BRONZE_DAYS,
    SILVER_SALES,
    SILVER_REJECTS,
    SILVER_DAYS,
    PRODUCT_MONTHS,
    CUSTOMER_MONTHS,
    *GOLD_TABLES,
)
"""Every table of the lake."""

__all__ = [
    "BRONZE_DAYS",
    "BRONZE_SALES",
    "CUSTOMER_MONTHS",
    "CUSTOMER_VALUE",
    "DAY_QUALITY",
    "DEMAND_FORECAST",
    "DIM_COUNTRY",
    "DIM_CUSTOMER",
    "DIM_DATE",
    "DIM_INVOICE",
    "DIM_PRODUCT",
    "FACT_SALE",
    "FORECAST_BACKTEST",
    "GOLD_TABLES",
    "PRODUCT_CATEGORY",
    "PRODUCT_MONTHS",
    "PRODUCT_PAIR",
    "REVENUE_ANOMALIES",
    "REVENUE_FORECAST",
    "SILVER_DAYS",
    "SILVER_REJECTS",
    "SILVER_SALES",
    "TABLES",
    "Contract",
    "Table",
]

"""The schema of every table, once. Validation, documentation, warehouse tables and served columns derive from it."""

from retail_platform.contracts.base import Contract, Table
from retail_platform.contracts.bronze import BRONZE_DAYS, BRONZE_SALES
from retail_platform.contracts.corrections import REJECT_CORRECTION
from retail_platform.contracts.customer_features import CUSTOMER_FEATURE
from retail_platform.contracts.enrichment import BANK_HOLIDAYS, DAILY_WEATHER, EXCHANGE_RATES
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
from retail_platform.contracts.product_features import PRODUCT_FEATURE
from retail_platform.contracts.products import PRICE_ELASTICITY, PRODUCT_DEMAND, SEASONALITY_INDEX
from retail_platform.contracts.quality import (
    COLUMN_DRIFT,
    LINE_OUTLIERS,
    PRODUCT_BANDS,
    QUALITY_PROFILES,
    QUALITY_SCORES,
    ROW_DRIFT,
)
from retail_platform.contracts.segments import CUSTOMER_SEGMENT_MONTH
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
    CUSTOMER_SEGMENT_MONTH,
    CUSTOMER_FEATURE,
    PRODUCT_FEATURE,
    PRODUCT_DEMAND,
    PRICE_ELASTICITY,
    SEASONALITY_INDEX,
    EXCHANGE_RATES,
    BANK_HOLIDAYS,
    DAILY_WEATHER,
    REJECT_CORRECTION,
    PRODUCT_BANDS,
    LINE_OUTLIERS,
    QUALITY_SCORES,
    QUALITY_PROFILES,
    COLUMN_DRIFT,
    ROW_DRIFT,
    REVENUE_ANOMALIES,
    REVENUE_FORECAST,
    DEMAND_FORECAST,
    FORECAST_BACKTEST,
)
"""The star schema, referenced tables before the tables that reference them; then the tables made beside and from it."""

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
    "BANK_HOLIDAYS",
    "BRONZE_DAYS",
    "BRONZE_SALES",
    "COLUMN_DRIFT",
    "CUSTOMER_FEATURE",
    "CUSTOMER_MONTHS",
    "CUSTOMER_SEGMENT_MONTH",
    "CUSTOMER_VALUE",
    "DAILY_WEATHER",
    "DAY_QUALITY",
    "DEMAND_FORECAST",
    "DIM_COUNTRY",
    "DIM_CUSTOMER",
    "DIM_DATE",
    "DIM_INVOICE",
    "DIM_PRODUCT",
    "EXCHANGE_RATES",
    "FACT_SALE",
    "FORECAST_BACKTEST",
    "GOLD_TABLES",
    "LINE_OUTLIERS",
    "PRICE_ELASTICITY",
    "PRODUCT_BANDS",
    "PRODUCT_CATEGORY",
    "PRODUCT_DEMAND",
    "PRODUCT_FEATURE",
    "PRODUCT_MONTHS",
    "PRODUCT_PAIR",
    "QUALITY_PROFILES",
    "QUALITY_SCORES",
    "REJECT_CORRECTION",
    "REVENUE_ANOMALIES",
    "REVENUE_FORECAST",
    "ROW_DRIFT",
    "SEASONALITY_INDEX",
    "SILVER_DAYS",
    "SILVER_REJECTS",
    "SILVER_SALES",
    "TABLES",
    "Contract",
    "Table",
]

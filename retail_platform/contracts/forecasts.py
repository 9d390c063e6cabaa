"""The gold tables that look ahead, and the days that were not as they should have been (docs/forecasts.md)."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Money, Table

COUNTRY_GROUPS = ("United Kingdom", "European Union", "Rest of the world")
ALL_COUNTRIES = "All countries"
SCENARIOS = ("pessimistic", "baseline", "optimistic")
NAIVE = "seasonal_naive"
REVENUE_MODELS = (NAIVE, "weekday_profile", "last_year", "regression", "ets", "theta")
DEMAND_MODELS = (NAIVE, "recent_median", "quarter_mean", "ets", "theta")
DIMENSIONS = ("total", "country", "category")
_POINT = "What is expected: the scenario's path."


class RevenueForecast(Contract):
    """One row per country group, scenario and day of the 30 after the newest closed week.

    Grain: (country_group, scenario, forecast_date).  Source: gold/fact_sale up to the newest closed week.
    Units: net revenue in the shop's currency.
    A day on which the shop is expected to be closed is 0 throughout. All countries is forecast by itself: the groups
    need not add up to it.
    """

    country_group: pl.String = pa.Field(isin=(*COUNTRY_GROUPS, ALL_COUNTRIES), description="Group of countries.")
    scenario: pl.String = pa.Field(isin=SCENARIOS, description="pessimistic, baseline or optimistic.")
    forecast_date: pl.Date = pa.Field(description="The day.")
    as_of_date: pl.Date = pa.Field(description="Sunday of the newest closed week; nothing later is known.")
    is_open: pl.Boolean = pa.Field(description="Whether the shop is expected to sell on the day.")
    expected_revenue: Money = pa.Field(ge=0, description=_POINT)
    low_80: Money = pa.Field(ge=0, description="Lower end of the 80 % band.")
    high_80: Money = pa.Field(ge=0, description="Upper end of the 80 % band.")
    low_95: Money = pa.Field(ge=0, description="Lower end of the 95 % band.")
    high_95: Money = pa.Field(ge=0, description="Upper end of the 95 % band.")
    model: pl.String = pa.Field(isin=REVENUE_MODELS, description="Model that the backtest chose.")


REVENUE_FORECAST = Table(
    "gold",
    "revenue_forecast",
    RevenueForecast,
    key=("country_group", "scenario", "forecast_date"),
)


class DemandForecast(Contract):
    """One row per top product, scenario and week of the 5 after the newest closed one.

    Grain: (stock_code, scenario, week_start).  Source: gold/fact_sale up to the newest closed week.
    Units: units on uncancelled product lines; returns are not deducted.
    The 50 products with the highest net revenue of the newest 26 closed weeks that sold in 13 of them or more.
    """

    stock_code: pl.String = pa.Field(description="Product code.")
    scenario: pl.String = pa.Field(isin=SCENARIOS, description="pessimistic, baseline or optimistic.")
    week_start: pl.Date = pa.Field(description="Monday of the week.")
    as_of_date: pl.Date = pa.Field(description="Sunday of the newest closed week; nothing later is known.")
    open_days: pl.Int32 = pa.Field(ge=0, le=7, description="Days of the week on which the shop is expected to sell.")
    expected_units: pl.Float64 = pa.Field(ge=0, description=_POINT)
    low_80: pl.Float64 = pa.Field(ge=0, description="Lower end of the 80 % band.")
    high_80: pl.Float64 = pa.Field(ge=0, description="Upper end of the 80 % band.")
    low_95: pl.Float64 = pa.Field(ge=0, description="Lower end of the 95 % band.")
    high_95: pl.Float64 = pa.Field(ge=0, description="Upper end of the 95 % band.")
    model: pl.String = pa.Field(isin=DEMAND_MODELS, description="Model that the backtest chose.")


DEMAND_FORECAST = Table(
    "gold",
    "demand_forecast",
    DemandForecast,
    key=("stock_code", "scenario", "week_start"),
)


class ForecastBacktest(Contract):
    """One row per series, model and origin: how a forecast made at the end of that day turned out.

    Grain: (subject, series, model, origin_date).  Source: gold/fact_sale up to the newest closed week.
    Units: revenue in the shop's currency a day, demand in units a week.
    At each origin only what came before is known, the closed days of the shop included.
    """

    subject: pl.String = pa.Field(isin=("revenue", "demand"), description="revenue (30 days) or demand (5 weeks).")
    series: pl.String = pa.Field(description="Country group, or product code.")
    model: pl.String = pa.Field(isin=sorted({*REVENUE_MODELS, *DEMAND_MODELS}), description="The model.")
    origin_date: pl.Date = pa.Field(description="Last day known to the forecast.")
    as_of_date: pl.Date = pa.Field(description="Sunday of the newest closed week.")
    horizon: pl.Int32 = pa.Field(ge=1, description="Days or weeks foretold.")
    mae: pl.Float64 = pa.Field(ge=0, description="Mean absolute error over the horizon, closed days included.")
    naive_mae: pl.Float64 = pa.Field(ge=0, description="The same of the seasonal naive.")
    mase: pl.Float64 = pa.Field(
        nullable=True, ge=0, description="mae / naive_mae: below 1 beats the seasonal naive; null where that is 0."
    )
    coverage_80_pct: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 100},
        description="Days or weeks within the 80 % band that the other origins' errors give; null without an open one.",
    )
    coverage_95_pct: pl.Float64 = pa.Field(
        nullable=True, in_range={"min_value": 0, "max_value": 100}, description="The same of the 95 % band."
    )
    expected_total: pl.Float64 = pa.Field(description="Sum foretold over the horizon.")
    actual_total: pl.Float64 = pa.Field(description="Sum that came.")
    is_chosen: pl.Boolean = pa.Field(description="Whether the series is published by this model.")


FORECAST_BACKTEST = Table(
    "gold",
    "forecast_backtest",
    ForecastBacktest,
    key=("subject", "series", "model", "origin_date"),
)


class RevenueAnomalies(Contract):
    """One row per day and judged country, category or total: the revenue, and the band it was expected in.

    Grain: (dimension, member, sale_date).  Source: gold/fact_sale up to the newest closed week.
    Units: amounts in the shop's currency.
    A member is judged that sold on 70 % of the shop's days or more, over 12 weeks or more. Days on which the shop was
    closed, or usually is, are not judged.
    """

    dimension: pl.String = pa.Field(isin=DIMENSIONS, description="total, country or category.")
    member: pl.String = pa.Field(description="Country, category of products, or All.")
    sale_date: pl.Date = pa.Field(description="Day of the sale.")
    as_of_date: pl.Date = pa.Field(description="Sunday of the newest closed week.")
    net_revenue: Money = pa.Field(description="Amount of all lines; of product lines for a category.")
    expected_revenue: Money = pa.Field(description="Trend and weekday (STL).")
    low_revenue: Money = pa.Field(description="Lower end of the band: 3.5 robust standard deviations.")
    high_revenue: Money = pa.Field(description="Upper end of the band.")
    score: pl.Float64 = pa.Field(description="Residual in robust standard deviations, positive above.")
    is_anomaly: pl.Boolean = pa.Field(description="Whether the revenue is outside the band.")


REVENUE_ANOMALIES = Table(
    "gold",
    "revenue_anomalies",
    RevenueAnomalies,
    key=("dimension", "member", "sale_date"),
)

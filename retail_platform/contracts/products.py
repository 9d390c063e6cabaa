"""The gold tables on products as of the newest closed month: classes and returns, price elasticity, seasonality."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Money, Table

ABC_CLASSES = ("A", "B", "C")
XYZ_CLASSES = ("X", "Y", "Z", "N")
SEASONAL_SCOPES = ("shop", "category", "product")
SEASONAL_CYCLES = ("month", "weekday")


class ProductDemand(Contract):
    """One row per product with a line in twelve months: its ABC and XYZ class, and what came back.

    Grain: stock_code.  Source: silver/sales of the newest twelve closed months; silver/product_months for the first.
    Units: amounts in the shop's currency; shares and rates in percent.
    A returned unit is matched with an earlier sale of the same product to the same customer within the twelve months;
    other returns are counted apart (docs/analytics.md).
    """

    stock_code: pl.String = pa.Field(unique=True, description="Product code.")
    as_of_date: pl.Date = pa.Field(description="Last day of the twelve closed months that are counted.")
    net_revenue: Money = pa.Field(description="Amount of the product's lines, cancellations included.")
    revenue_rank: pl.Int32 = pa.Field(ge=1, description="Position by net_revenue, largest first, ties by stock_code.")
    revenue_share_pct: pl.Float64 = pa.Field(
        nullable=True, description="net_revenue in percent of that of all products; null where that is 0."
    )
    abc_class: pl.String = pa.Field(
        isin=ABC_CLASSES,
        description="A: the products that bring the first 80 % of net_revenue; B: up to 95 %; C: the rest.",
    )
    sold_unit_count: pl.Int64 = pa.Field(ge=0, description="Units of lines with a positive quantity.")
    sold_amount: Money = pa.Field(ge=0, description="Amount of lines with a positive quantity.")
    returned_unit_count: pl.Int64 = pa.Field(ge=0, description="Units returned that are matched with a sale.")
    returned_amount: Money = pa.Field(ge=0, description="Amount of returned_unit_count, at the price given back.")
    unmatched_unit_count: pl.Int64 = pa.Field(
        ge=0, description="Units returned without a sale to match: guests', and of earlier sales."
    )
    unmatched_amount: Money = pa.Field(ge=0, description="Amount of unmatched_unit_count, at the price given back.")
    unit_return_rate_pct: pl.Float64 = pa.Field(
        nullable=True, description="returned_unit_count / sold_unit_count in percent; null where nothing was sold."
    )
    amount_return_rate_pct: pl.Float64 = pa.Field(
        nullable=True, description="returned_amount / sold_amount in percent; null where nothing was sold."
    )
    observed_months: pl.Int32 = pa.Field(
        in_range={"min_value": 1, "max_value": 12}, description="Months from the product's first line on, at most 12."
    )
    sold_months: pl.Int32 = pa.Field(
        in_range={"min_value": 0, "max_value": 12}, description="Months with a line of positive quantity."
    )
    mean_monthly_units: pl.Float64 = pa.Field(
        description="sold_unit_count less returned_unit_count, by observed_months."
    )
    unit_variation: pl.Float64 = pa.Field(
        nullable=True,
        ge=0,
        description="Coefficient of variation of the observed months' units; null for one month, or a mean of 0.",
    )
    xyz_class: pl.String = pa.Field(
        isin=XYZ_CLASSES,
        description="X: unit_variation up to 0.5; Y: up to 1; Z: above, or null; N: observed for less than 6 months.",
    )
    abc_xyz_class: pl.String = pa.Field(description="Both classes, for example AX.")


PRODUCT_DEMAND = Table(
    "gold",
    "product_demand",
    ProductDemand,
    key=("stock_code",),
)


class PriceElasticity(Contract):
    """One row per product whose price varied enough: by how many percent its units change with 1 % of its price.

    Grain: stock_code.  Source: silver/sales, whole weeks of the newest 24 closed months.
    Units: prices in the shop's currency; an elasticity of -1.5 is 1.5 % fewer units at a price 1 % higher.
    Least squares of the logarithm of weekly units on that of the weekly price, with months of the year and a trend;
    an association within the product, not proof of a cause (docs/analytics.md).
    """

    stock_code: pl.String = pa.Field(unique=True, description="Product code.")
    as_of_date: pl.Date = pa.Field(description="Last day of the newest closed month.")
    week_count: pl.Int32 = pa.Field(ge=26, description="Weeks with a price: those the regression rests on.")
    moved_week_count: pl.Int32 = pa.Field(
        ge=5, description="Weeks whose price is at least 5 % away from the median week's."
    )
    unit_count: pl.Int64 = pa.Field(ge=1, description="Units sold to known customers in these weeks.")
    lowest_price: Money = pa.Field(gt=0, description="Least weekly price; a week's is the lower median of small lines.")
    median_price: Money = pa.Field(gt=0, description="Lower median of the weekly prices.")
    highest_price: Money = pa.Field(gt=0, description="Greatest weekly price.")
    price_spread: pl.Float64 = pa.Field(
        ge=0.05, description="Standard deviation of the log price that months and trend do not explain."
    )
    elasticity: pl.Float64 = pa.Field(description="Coefficient of the log price.")
    standard_error: pl.Float64 = pa.Field(ge=0, description="Its standard error, robust to unequal variance (HC1).")
    elasticity_low: pl.Float64 = pa.Field(description="Lower end of its 95 % interval (Student's t).")
    elasticity_high: pl.Float64 = pa.Field(description="Upper end of its 95 % interval (Student's t).")
    r_squared: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description="Of the whole regression, months and trend included; null when every week sold as many units.",
    )


PRICE_ELASTICITY = Table(
    "gold",
    "price_elasticity",
    PriceElasticity,
    key=("stock_code",),
)


class SeasonalityIndex(Contract):
    """One row per position of a cycle (month of the year, day of the week), of the shop, a category or a product.

    Grain: (scope, item, cycle, position).  Source: silver/sales, whole years back from the newest closed month, at most
    five; gold/dim_product for the categories.
    Units: indices, 100 is the mean position; amounts in the shop's currency.
    """

    scope: pl.String = pa.Field(isin=SEASONAL_SCOPES, description="What is summed up: shop, category or product.")
    item: pl.String = pa.Field(description="The category or product code; all for the shop.")
    cycle: pl.String = pa.Field(
        isin=SEASONAL_CYCLES, description="month (of the year) or weekday; weekday for the shop only."
    )
    position: pl.Int16 = pa.Field(
        in_range={"min_value": 1, "max_value": 12}, description="Month, 1 is January; or weekday, 1 is Monday."
    )
    as_of_date: pl.Date = pa.Field(description="Last day of the newest closed month.")
    year_count: pl.Int16 = pa.Field(
        ge=1, description="Years the index rests on: of 12 closed months, or of 52 weeks for weekdays."
    )
    net_revenue: Money = pa.Field(description="Amount of product lines of these years, cancellations included.")
    unit_count: pl.Int64 = pa.Field(description="Units of these lines, returns deducted.")
    revenue_index: pl.Float64 = pa.Field(description="Mean over the years of the year's own index by net_revenue.")
    lowest_index: pl.Float64 = pa.Field(description="Least revenue_index of one year.")
    highest_index: pl.Float64 = pa.Field(description="Greatest revenue_index of one year.")
    unit_index: pl.Float64 = pa.Field(description="As revenue_index, by unit_count.")


SEASONALITY_INDEX = Table(
    "gold",
    "seasonality_index",
    SeasonalityIndex,
    key=("scope", "item", "cycle", "position"),
)

"""The gold tables: the star schema, on Delta and, with the same columns, in PostgreSQL."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Instant, LocalTime, Money, Percentage, Table
from retail_platform.contracts.silver import LINE_TYPES

SEGMENTS = (
    "Champions",
    "Loyal Customers",
    "Big Spenders",
    "New Customers",
    "At Risk",
    "Cannot Lose Them",
    "Others",
)

CUSTOMER_VALUE_SEGMENTS = ("High Value", "Mid Value", "Low Value", "Inactive", "New", "Guest")


class DimDate(Contract):
    """One row per calendar day of every year that holds a sale.

    Grain: date.  Source: the calendar; bank holidays of England from the holidays package.
    """

    date_key: pl.Int32 = pa.Field(unique=True, description="The day as yyyymmdd.")
    date: pl.Date = pa.Field(unique=True, description="The day.")
    year: pl.Int16 = pa.Field(description="Calendar year.")
    quarter: pl.Int16 = pa.Field(in_range={"min_value": 1, "max_value": 4}, description="Calendar quarter, 1 to 4.")
    month: pl.Int16 = pa.Field(in_range={"min_value": 1, "max_value": 12}, description="Month, 1 to 12.")
    month_name: pl.String = pa.Field(description="English name of the month.")
    week: pl.Int16 = pa.Field(in_range={"min_value": 1, "max_value": 53}, description="ISO 8601 week, 1 to 53.")
    day_of_month: pl.Int16 = pa.Field(
        in_range={"min_value": 1, "max_value": 31}, description="Day of the month, 1 to 31."
    )
    day_of_week: pl.Int16 = pa.Field(
        in_range={"min_value": 1, "max_value": 7}, description="ISO 8601 weekday, 1 is Monday."
    )
    day_name: pl.String = pa.Field(description="English name of the weekday.")
    is_weekend: pl.Boolean = pa.Field(description="Whether the day is a Saturday or Sunday.")
    is_holiday: pl.Boolean = pa.Field(description="Whether the day is a bank holiday in England.")
    holiday_name: pl.String = pa.Field(nullable=True, description="Name of the bank holiday; null on other days.")
    fiscal_year: pl.Int16 = pa.Field(description="Fiscal year, named by the calendar year in which it ends.")
    fiscal_quarter: pl.Int16 = pa.Field(
        in_range={"min_value": 1, "max_value": 4}, description="Quarter of the fiscal year, 1 to 4."
    )


DIM_DATE = Table(
    "gold",
    "dim_date",
    DimDate,
    key=("date_key",),
)


class DimCountry(Contract):
    """One row per country of ISO 3166 and per unknown member.

    Grain: country_key.  Source: packaged reference table (sources and years in docs/reference-data.md).
    """

    country_key: pl.Int64 = pa.Field(unique=True, description="Surrogate key; negative for unknown members.")
    country_code: pl.String = pa.Field(
        nullable=True,
        str_length={"min_value": 2, "max_value": 2},
        description="ISO 3166-1 alpha-2 code; null for unknown members.",
    )
    country_name: pl.String = pa.Field(description="English short name.")
    region: pl.String = pa.Field(nullable=True, description="Sub-region, UN M49.")
    continent: pl.String = pa.Field(nullable=True, description="Continent.")
    currency_code: pl.String = pa.Field(nullable=True, description="ISO 4217 code of the currency in use.")
    gdp_per_capita: Money = pa.Field(
        nullable=True, description="Gross domestic product per head, US dollars of the source's year."
    )
    population: pl.Int64 = pa.Field(nullable=True, description="Inhabitants.")
    timezone: pl.String = pa.Field(nullable=True, description="IANA time zone of the capital.")
    latitude: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": -90, "max_value": 90},
        description="Latitude of the capital, degrees north.",
    )
    longitude: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": -180, "max_value": 180},
        description="Longitude of the capital, degrees east.",
    )
    is_eu_member: pl.Boolean = pa.Field(
        nullable=True, description="Whether a member of the European Union (year in docs/reference-data.md)."
    )
    tax_rate: Percentage = pa.Field(
        nullable=True, description="Standard rate of value added tax, percent; null where unknown."
    )


DIM_COUNTRY = Table(
    "gold",
    "dim_country",
    DimCountry,
    key=("country_key",),
)


class DimProduct(Contract):
    """One row per product code and version, as the shop described and priced it.

    Grain: (stock_code, valid_from).  Source: silver/product_months and gold/product_category.
    Units: prices in the shop's currency, tax as in the source.
    """

    product_key: pl.Int64 = pa.Field(unique=True, description="Surrogate key of the version.")
    stock_code: pl.String = pa.Field(description="Product code.")
    description: pl.String = pa.Field(
        nullable=True, description="Most frequent description when the version was judged."
    )
    category: pl.String = pa.Field(
        nullable=True, description="Category by the description, or unclassified; null for what is no product."
    )
    subcategory: pl.String = pa.Field(
        nullable=True, description="Subcategory by the description, or unclassified; null for what is no product."
    )
    brand: pl.String = pa.Field(nullable=True, description="Brand that the description names; null where none.")
    product_family: pl.String = pa.Field(
        nullable=True, description="Design or range that the description names; null where none."
    )
    unit_cost: Money = pa.Field(nullable=True, description="Cost per unit; null where no reference table gives it.")
    recommended_price: Money = pa.Field(
        nullable=True, description="Lower median unit price when the version was judged."
    )
    valid_from: pl.Date = pa.Field(description="First day of the version.")
    valid_to: pl.Date = pa.Field(nullable=True, description="First day after the version; null for the current one.")
    is_current: pl.Boolean = pa.Field(description="Whether this is the newest version.")
    version: pl.Int32 = pa.Field(ge=1, description="Number of the version, from 1.")


DIM_PRODUCT = Table(
    "gold",
    "dim_product",
    DimProduct,
    key=("product_key",),
)


class DimCustomer(Contract):
    """One row per customer and version: where the customer is and how it buys.

    Grain: (customer_id, valid_from).  Source: silver/customer_months.
    Units: amounts in the shop's currency.
    """

    customer_key: pl.Int64 = pa.Field(unique=True, description="Surrogate key of the version; -1 is the guest.")
    customer_id: pl.String = pa.Field(nullable=True, description="Customer number; null for the guest.")
    customer_segment: pl.String = pa.Field(
        isin=CUSTOMER_VALUE_SEGMENTS, description="Value tier by monetary score (docs/segments.md)."
    )
    registration_date: pl.Date = pa.Field(
        nullable=True, description="First day with a silver line; null for the guest."
    )
    lifetime_value: Money = pa.Field(nullable=True, description="Amount of all lines so far, cancellations included.")
    total_orders: pl.Int64 = pa.Field(nullable=True, description="Uncancelled invoices so far.")
    total_spent: Money = pa.Field(nullable=True, description="Amount of uncancelled lines so far.")
    avg_order_value: Money = pa.Field(nullable=True, description="total_spent / total_orders; null without an order.")
    recency_score: pl.Int16 = pa.Field(
        nullable=True, in_range={"min_value": 1, "max_value": 5}, description="1 (long ago) to 5 (just now)."
    )
    frequency_score: pl.Int16 = pa.Field(
        nullable=True, in_range={"min_value": 1, "max_value": 5}, description="1 (seldom) to 5 (often)."
    )
    monetary_score: pl.Int16 = pa.Field(
        nullable=True, in_range={"min_value": 1, "max_value": 5}, description="1 (little) to 5 (much)."
    )
    rfm_segment: pl.String = pa.Field(isin=SEGMENTS, description="Segment by the three scores (docs/segments.md).")
    country: pl.String = pa.Field(nullable=True, description="Country of the last line when the version was judged.")
    valid_from: pl.Date = pa.Field(description="First day of the version.")
    valid_to: pl.Date = pa.Field(nullable=True, description="First day after the version; null for the current one.")
    is_current: pl.Boolean = pa.Field(description="Whether this is the newest version.")
    version: pl.Int32 = pa.Field(ge=1, description="Number of the version, from 1.")


DIM_CUSTOMER = Table(
    "gold",
    "dim_customer",
    DimCustomer,
    key=("customer_key",),
)


class DimInvoice(Contract):
    """One row per invoice and day. What the source does not say is null.

    Grain: (invoice_no, sale_date).  Source: silver/sales.
    Units: amounts in the shop's currency.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month of sale_date.")
    sale_date: pl.Date = pa.Field(description="Day of the invoice.")
    invoice_key: pl.Int64 = pa.Field(unique=True, description="Surrogate key of (invoice_no, sale_date).")
    invoice_no: pl.String = pa.Field(description="Invoice number.")
    invoice_date: LocalTime = pa.Field(description="Earliest time of its lines, shop's wall clock.")
    is_cancelled: pl.Boolean = pa.Field(description="Whether the invoice is a cancellation.")
    payment_method: pl.String = pa.Field(
        nullable=True, description="Payment method; null where the source does not say."
    )
    payment_status: pl.String = pa.Field(
        nullable=True, description="Payment status; null where the source does not say."
    )
    payment_date: pl.Date = pa.Field(nullable=True, description="Day of payment; null where the source does not say.")
    invoice_total: Money = pa.Field(description="Sum of its silver lines.")
    tax_amount: Money = pa.Field(nullable=True, description="Tax; null where there is no basis.")
    channel: pl.String = pa.Field(nullable=True, description="Sales channel; null where the source does not say.")
    sales_rep_id: pl.String = pa.Field(
        nullable=True, description="Sales representative; null where the source does not say."
    )


DIM_INVOICE = Table(
    "gold",
    "dim_invoice",
    DimInvoice,
    key=("invoice_key",),
    day="sale_date",
    month="sale_month",
)


class FactSale(Contract):
    """One row per silver line, keyed to the dimension versions valid on its day.

    Grain: sale_id, one silver line.  Source: silver/sales, the dimensions and gold/exchange_rates.
    Units: amounts in the shop's currency, but where a column names another; what has no basis (cost, tax, discount) is
    null.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month of sale_date.")
    sale_date: pl.Date = pa.Field(description="Day of the sale.")
    sale_id: pl.String = pa.Field(
        description="UUID from the line's typed values (and ordinal, where repeats are kept)."
    )
    product_key: pl.Int64 = pa.Field(description="Product version of the day.")
    customer_key: pl.Int64 = pa.Field(description="Customer version of the day; -1 for a guest.")
    date_key: pl.Int32 = pa.Field(description="The day as yyyymmdd.")
    invoice_key: pl.Int64 = pa.Field(description="The invoice.")
    country_key: pl.Int64 = pa.Field(description="The line's own country.")
    quantity: pl.Int32 = pa.Field(ne=0, description="Units; negative for returns.")
    unit_price: Money = pa.Field(gt=0, description="Price per unit.")
    total_amount: Money = pa.Field(description="quantity x unit_price, exact.")
    discount_amount: Money = pa.Field(
        nullable=True, description="Discount given on the line; null where there is no basis."
    )
    tax_amount: Money = pa.Field(nullable=True, description="Tax on the line; null where there is no basis.")
    profit_amount: Money = pa.Field(nullable=True, description="total_amount less cost; null without a unit cost.")
    margin_percentage: Percentage = pa.Field(
        nullable=True, description="profit_amount / total_amount in percent; null without a cost."
    )
    line_type: pl.String = pa.Field(isin=LINE_TYPES, description="What the line sells.")
    is_cancelled: pl.Boolean = pa.Field(description="Whether the invoice is a cancellation.")
    invoiced_at: LocalTime = pa.Field(description="Time of the invoice, shop's wall clock.")
    created_at: Instant = pa.Field(description="When the line's delivery was first registered, UTC.")
    batch_id: pl.String = pa.Field(description="The delivery the line came with.")
    total_amount_eur: Money = pa.Field(
        nullable=True, description="total_amount in euros by the day's rate; null on a day without one."
    )
    total_amount_usd: Money = pa.Field(
        nullable=True, description="total_amount in US dollars by the day's rate; null on a day without one."
    )


FACT_SALE = Table(
    "gold",
    "fact_sale",
    FactSale,
    key=("sale_id",),
    day="sale_date",
    month="sale_month",
    references={
        "product_key": "dim_product.product_key",
        "customer_key": "dim_customer.customer_key",
        "date_key": "dim_date.date_key",
        "invoice_key": "dim_invoice.invoice_key",
        "country_key": "dim_country.country_key",
    },
)


class DayQuality(Contract):
    """One row per day with a delivered row: how many rows were accepted, and why the others were not.

    Grain: sale_date.  Source: silver/sales and silver/rejects.
    Units: amounts in the shop's currency.
    Rows without a usable day belong to no day and are not here (reason invalid_date, or one that comes before it).
    """

    sale_month: pl.Date = pa.Field(description="First day of the month of sale_date.")
    sale_date: pl.Date = pa.Field(unique=True, description="Day of the sale.")
    delivered_rows: pl.Int64 = pa.Field(ge=1, description="Rows delivered for the day.")
    accepted_rows: pl.Int64 = pa.Field(ge=0, description="Rows that are sale lines.")
    rejected_rows: pl.Int64 = pa.Field(ge=0, description="Rows that are not, each with one reason.")
    accepted_amount: Money = pa.Field(description="Amount of the accepted rows.")
    rejected_amount: Money = pa.Field(
        nullable=True, description="Amount of the rejected rows that have one; null where none has."
    )
    acceptance_pct: Percentage = pa.Field(
        in_range={"min_value": 0, "max_value": 100}, description="accepted_rows / delivered_rows in percent."
    )
    missing_invoice_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows without an invoice number.")
    missing_stock_code_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows without a product code.")
    invalid_quantity_rows: pl.Int64 = pa.Field(
        ge=0, description="Rejected rows whose quantity is not a whole number of 32 bits, or 0."
    )
    invalid_price_rows: pl.Int64 = pa.Field(
        ge=0, description="Rejected rows whose price is not plain decimal text, or whose amount is too large."
    )
    adjustment_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows of an adjustment, or with a negative price.")
    zero_price_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows with price 0.")
    test_line_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows that sell a test code.")
    superseded_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows whose invoice a later delivery restates.")
    duplicate_line_rows: pl.Int64 = pa.Field(ge=0, description="Rejected rows that repeat a line of their delivery.")


DAY_QUALITY = Table(
    "gold",
    "day_quality",
    DayQuality,
    key=("sale_date",),
    day="sale_date",
    month="sale_month",
)


class CustomerValue(Contract):
    """One row per customer with an order: what it has bought, and what is expected of it.

    Grain: customer_id.  Source: silver/sales up to the newest closed month.
    Units: amounts in the shop's currency, not discounted; probabilities from 0 to 1.
    An order is a day whose uncancelled product lines sum to more than 0. What the models say (docs/analytics.md) is
    null while fewer than 50 customers have come back.
    """

    customer_id: pl.String = pa.Field(unique=True, description="Customer number.")
    as_of_date: pl.Date = pa.Field(description="Last day of the newest closed month; all figures are as of its end.")
    order_days: pl.Int64 = pa.Field(ge=1, description="Days with an order.")
    first_order_date: pl.Date = pa.Field(description="First day with an order.")
    last_order_date: pl.Date = pa.Field(description="Last day with an order.")
    mean_order_value: Money = pa.Field(description="historical_value / order_days.")
    probability_alive: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description="Probability that the customer has not left for good; 1 for one with a single order day.",
    )
    churn_probability: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description="Probability of no order in the 180 days after as_of_date.",
    )
    expected_orders_90d: pl.Float64 = pa.Field(
        nullable=True, ge=0, description="Expected days with an order in the 90 days after as_of_date."
    )
    expected_order_value: Money = pa.Field(nullable=True, ge=0, description="Expected value of the next order.")
    predicted_value_12m: Money = pa.Field(
        nullable=True,
        ge=0,
        description="Expected orders of the 365 days after as_of_date x expected_order_value, not discounted.",
    )
    historical_value: Money = pa.Field(gt=0, description="Amount of all orders so far; cancellations are not deducted.")
    holdout_churn_probability: pl.Float64 = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description="Probability of no order in the last 180 days as foretold before them; null for a later customer.",
    )
    holdout_expected_orders: pl.Float64 = pa.Field(
        nullable=True,
        ge=0,
        description="Orders of the last 180 days as foretold before them; null for a customer who came later.",
    )
    holdout_order_days: pl.Int64 = pa.Field(
        nullable=True, ge=0, description="Days with an order that came in them; null for a customer who came later."
    )
    holdout_expected_value: Money = pa.Field(
        nullable=True,
        ge=0,
        description="holdout_expected_orders x the expected value of an order before them; null for a later customer.",
    )
    holdout_value: Money = pa.Field(
        nullable=True, ge=0, description="Amount of the orders that came in them; null for a customer who came later."
    )


CUSTOMER_VALUE = Table(
    "gold",
    "customer_value",
    CustomerValue,
    key=("customer_id",),
)


class ProductPair(Contract):
    """One row per product and other product that are often bought on one invoice.

    Grain: (stock_code, other_stock_code).  Source: silver/sales of the newest twelve closed months.
    Units: shares in percent.
    Both directions of a pair are rows. Uncancelled invoices with a product line count, guests' included; a pair shares
    50 of them or more.
    """

    stock_code: pl.String = pa.Field(description="Product code.")
    other_stock_code: pl.String = pa.Field(description="Code of the product bought with it.")
    as_of_date: pl.Date = pa.Field(description="Last day of the twelve closed months that are counted.")
    pair_count: pl.Int64 = pa.Field(ge=1, description="Invoices with both products.")
    invoice_count: pl.Int64 = pa.Field(ge=1, description="Invoices with the product.")
    other_invoice_count: pl.Int64 = pa.Field(ge=1, description="Invoices with the other product.")
    support_pct: pl.Float64 = pa.Field(gt=0, description="pair_count in percent of all invoices.")
    confidence_pct: pl.Float64 = pa.Field(gt=0, description="pair_count / invoice_count in percent.")
    lift: pl.Float64 = pa.Field(
        gt=0, description="Confidence over the other product's share of all invoices; 1 is chance."
    )
    position: pl.Int32 = pa.Field(
        nullable=True,
        in_range={"min_value": 1, "max_value": 5},
        description="Rank among the product's five suggestions, by confidence; null for other pairs.",
    )


PRODUCT_PAIR = Table(
    "gold",
    "product_pair",
    ProductPair,
    key=("stock_code", "other_stock_code"),
)


class ProductCategory(Contract):
    """One row per description of a product: where the thing belongs, and whose it is.

    Grain: description.  Source: silver/product_months; packaged labels, brands and families (docs/categories.md).
    Units: the confidence is a probability, 0 to 1.
    """

    description: pl.String = pa.Field(unique=True, description="The description, as silver has it.")
    category: pl.String = pa.Field(description="Category, or unclassified where the classifier is not sure.")
    subcategory: pl.String = pa.Field(description="Subcategory, or unclassified where the classifier is not sure.")
    category_confidence: pl.Float64 = pa.Field(
        in_range={"min_value": 0, "max_value": 1},
        description="Probability of the likeliest category, published or not; 1 for a label.",
    )
    is_labelled: pl.Boolean = pa.Field(description="Whether a label says so, and not the classifier.")
    brand: pl.String = pa.Field(nullable=True, description="Brand that the description names; null where none.")
    product_family: pl.String = pa.Field(
        nullable=True, description="Design or range that the description names; null where none."
    )


PRODUCT_CATEGORY = Table(
    "gold",
    "product_category",
    ProductCategory,
    key=("description",),
)

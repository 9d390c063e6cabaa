"""The gold tables about quality: scores, profiles, drift and outliers (docs/quality.md)."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Instant, Money, Percentage, Table

VERDICTS = ("stable", "moved", "shifted")


class QualityScores(Contract):
    """One row per table and day: six scores of quality, their weighted total, and what they are made from.

    Grain: (table_name, sale_date).  Source: gold/day_quality, fact_sale, line_outliers; silver; the ledger.
    Units: scores from 0 to 100; null where a day has no basis.
    """

    table_name: pl.String = pa.Field(description="The table whose rows are scored.")
    sale_date: pl.Date = pa.Field(description="Day of the sale.")
    completeness_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Share of values that are filled."
    )
    accuracy_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Share of prices and quantities inside their product's band."
    )
    consistency_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Share of keys that lead to a known member."
    )
    timeliness_score: Percentage = pa.Field(
        nullable=True,
        ge=0,
        le=100,
        description="100 when delivered within a day of its end, falling; null for history.",
    )
    uniqueness_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Share of rows that repeat no line of their delivery."
    )
    validity_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Share of rows whose quantity, price and code are those of a sale."
    )
    total_score: Percentage = pa.Field(
        nullable=True, ge=0, le=100, description="Mean of the scores there are, by weight; null with too few of them."
    )
    basis_pct: Percentage = pa.Field(ge=0, le=100, description="Share of the weights that the scores there are carry.")
    warning_count: pl.Int64 = pa.Field(ge=0, description="Scores of a dimension below their threshold.")
    missing_values: pl.Int64 = pa.Field(nullable=True, ge=0, description="Values that are null or blank.")
    required_values: pl.Int64 = pa.Field(
        nullable=True, ge=0, description="Delivered rows x columns that must be filled."
    )
    outlier_values: pl.Int64 = pa.Field(nullable=True, ge=0, description="Prices and quantities outside their band.")
    judged_values: pl.Int64 = pa.Field(nullable=True, ge=0, description="Prices and quantities that have a band.")
    unrelated_values: pl.Int64 = pa.Field(nullable=True, ge=0, description="Keys that lead to an unknown member.")
    related_values: pl.Int64 = pa.Field(nullable=True, ge=0, description="Keys: facts x keys but the customer's.")
    duplicate_rows: pl.Int64 = pa.Field(ge=0, description="Rows that repeat a line of their delivery.")
    identified_rows: pl.Int64 = pa.Field(ge=0, description="Accepted rows and those that repeat one.")
    invalid_rows: pl.Int64 = pa.Field(
        ge=0, description="Rows rejected for quantity, price, adjustment, zero price or test code."
    )
    checked_rows: pl.Int64 = pa.Field(ge=0, description="Delivered rows, superseded ones aside.")
    delivery_hours: pl.Float64 = pa.Field(
        nullable=True, ge=0, description="Hours from the end of the day to its delivery, the lower median of its rows."
    )


QUALITY_SCORES = Table("gold", "quality_scores", QualityScores, key=("table_name", "sale_date"))


class QualityProfiles(Contract):
    """One row per delivery, table and column: what the delivery's values look like there.

    Grain: (table_name, delivery_id, column_name).  Source: bronze/sales, silver/sales and the ledger.
    Units: values as text, exactly as the column holds them.
    Of customers' numbers only counts and patterns are told. A delivery without a usable day has no profile.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month of sale_date.")
    sale_date: pl.Date = pa.Field(description="Newest day that the delivery holds.")
    table_name: pl.String = pa.Field(
        description="bronze.sales (the values as delivered) or silver.sales (typed, of the lines that were accepted)."
    )
    delivery_id: pl.String = pa.Field(description="The delivery.")
    delivered_at: Instant = pa.Field(description="When it was delivered, UTC.")
    column_name: pl.String = pa.Field(description="The column.")
    data_type: pl.String = pa.Field(description="Type of the column in the lake.")
    row_count: pl.Int64 = pa.Field(ge=1, description="Rows of the delivery in the table.")
    null_count: pl.Int64 = pa.Field(ge=0, description="Rows without a value.")
    null_share_pct: pl.Float64 = pa.Field(ge=0, le=100, description="null_count in percent of row_count.")
    distinct_count: pl.Int64 = pa.Field(ge=0, description="Distinct values.")
    min_value: pl.String = pa.Field(nullable=True, description="Least value.")
    max_value: pl.String = pa.Field(nullable=True, description="Greatest value.")
    p01: pl.String = pa.Field(nullable=True, description="Value that 1 % of the values do not exceed; not of text.")
    p25: pl.String = pa.Field(nullable=True, description="Value that 25 % of the values do not exceed; not of text.")
    p50: pl.String = pa.Field(nullable=True, description="Value that half of the values do not exceed; not of text.")
    p75: pl.String = pa.Field(nullable=True, description="Value that 75 % of the values do not exceed; not of text.")
    p99: pl.String = pa.Field(nullable=True, description="Value that 99 % of the values do not exceed; not of text.")
    top_values: pl.String = pa.Field(
        nullable=True, description="The five most frequent values, as a JSON array of value and count."
    )
    top_patterns: pl.String = pa.Field(
        nullable=True,
        description="The five most frequent patterns of text (A letter, 9 digit), as JSON of pattern and share_pct.",
    )


QUALITY_PROFILES = Table(
    "gold",
    "quality_profiles",
    QualityProfiles,
    key=("table_name", "delivery_id", "column_name"),
    day="sale_date",
    month="sale_month",
)


class ColumnDrift(Contract):
    """One row per day and column of the sale lines: whether its values look like those of the 30 days before.

    Grain: (sale_date, column_name).  Source: silver/sales.
    Units: shares in percent; indices without a unit.
    """

    sale_date: pl.Date = pa.Field(description="The judged day.")
    column_name: pl.String = pa.Field(description="Column of silver.sales; is_guest: whether customer_id is null.")
    kind: pl.String = pa.Field(isin=("number", "category"), description="Whether compared as numbers or as categories.")
    reference_count: pl.Int64 = pa.Field(ge=0, description="Lines of the 30 days before.")
    row_count: pl.Int64 = pa.Field(ge=1, description="Lines of the day.")
    reference_null_share_pct: pl.Float64 = pa.Field(
        nullable=True, ge=0, le=100, description="Lines before without a value."
    )
    null_share_pct: pl.Float64 = pa.Field(nullable=True, ge=0, le=100, description="Lines of the day without a value.")
    psi: pl.Float64 = pa.Field(
        nullable=True, description="Population stability index; from 0.1 moved, from 0.25 shifted."
    )
    usual_psi: pl.Float64 = pa.Field(
        nullable=True, description="Greatest index of a single day of the reference; no smaller one counts."
    )
    ks_statistic: pl.Float64 = pa.Field(
        nullable=True, ge=0, le=1, description="Kolmogorov-Smirnov distance; from 0.1 moved, from 0.2 shifted."
    )
    usual_ks_statistic: pl.Float64 = pa.Field(
        nullable=True, ge=0, le=1, description="Greatest distance of a single day of the reference."
    )
    ks_p_value: pl.Float64 = pa.Field(
        nullable=True, ge=0, le=1, description="Probability of the distance by chance, where it would count."
    )
    verdict: pl.String = pa.Field(
        nullable=True, isin=VERDICTS, description="stable, moved or shifted; null with too few lines or days."
    )
    advice: pl.String = pa.Field(description="What moved, and what to look at.")


COLUMN_DRIFT = Table("gold", "column_drift", ColumnDrift, key=("sale_date", "column_name"))


class RowDrift(Contract):
    """One row per day: whether it has as many sale lines as the same weekday in the eight weeks before.

    Grain: sale_date.  Source: silver/sales.
    """

    sale_date: pl.Date = pa.Field(unique=True, description="The judged day.")
    row_count: pl.Int64 = pa.Field(ge=1, description="Lines of the day.")
    expected_rows: pl.Float64 = pa.Field(nullable=True, ge=0, description="Median of the same weekday before.")
    low_rows: pl.Float64 = pa.Field(nullable=True, ge=0, description="Least number of lines that is expected.")
    high_rows: pl.Float64 = pa.Field(nullable=True, ge=0, description="Greatest number of lines that is expected.")
    verdict: pl.String = pa.Field(
        nullable=True, isin=VERDICTS, description="stable, moved or shifted; null with too few weeks before."
    )
    advice: pl.String = pa.Field(description="What was found and expected, and what to look at.")


ROW_DRIFT = Table("gold", "row_drift", RowDrift, key=("sale_date",))


class ProductBands(Contract):
    """One row per product and measure: the price and quantity that are usual for it.

    Grain: (stock_code, measure).  Source: silver/sales up to the newest closed month.
    Units: unit_price in the shop's currency, quantity in units without its sign; logarithms behind both.
    """

    stock_code: pl.String = pa.Field(description="Product code.")
    measure: pl.String = pa.Field(isin=("unit_price", "quantity"), description="What the band is of.")
    as_of_date: pl.Date = pa.Field(
        description="Last day of the newest closed month; later lines are judged, not learnt."
    )
    line_count: pl.Int64 = pa.Field(ge=1, description="Lines that the band is learnt from.")
    is_judged: pl.Boolean = pa.Field(description="Whether these are enough (30).")
    expected: pl.Float64 = pa.Field(nullable=True, gt=0, description="Median.")
    spread: pl.Float64 = pa.Field(nullable=True, gt=0, description="Robust standard deviation of the logarithm.")
    z_low: pl.Float64 = pa.Field(nullable=True, gt=0, description="Lower end of the band by the robust z.")
    z_high: pl.Float64 = pa.Field(nullable=True, gt=0, description="Upper end of the band by the robust z.")
    iqr_low: pl.Float64 = pa.Field(nullable=True, gt=0, description="Lower fence of the quartiles.")
    iqr_high: pl.Float64 = pa.Field(nullable=True, gt=0, description="Upper fence of the quartiles.")


PRODUCT_BANDS = Table("gold", "product_bands", ProductBands, key=("stock_code", "measure"))


class LineOutliers(Contract):
    """One row per sale line and measure that is far from what its product usually has: a line to look at.

    Grain: (delivery_id, file_sha256, source_row, measure).  Source: silver/sales and gold/product_bands.
    Units: amounts in the shop's currency; value, expected, low and high as in gold/product_bands.
    """

    sale_date: pl.Date = pa.Field(description="Day of the sale.")
    invoice_no: pl.String = pa.Field(description="Invoice number.")
    stock_code: pl.String = pa.Field(description="Product code.")
    description: pl.String = pa.Field(nullable=True, description="Product description.")
    quantity: pl.Int32 = pa.Field(description="Units sold; negative for returns.")
    unit_price: Money = pa.Field(description="Price per unit.")
    line_amount: Money = pa.Field(description="quantity x unit_price.")
    measure: pl.String = pa.Field(isin=("unit_price", "quantity"), description="What is far from usual.")
    value: pl.Float64 = pa.Field(gt=0, description="The line's price, or its quantity without a sign.")
    expected: pl.Float64 = pa.Field(gt=0, description="The product's median.")
    low: pl.Float64 = pa.Field(ge=0, description="Lower end of the band that the value is outside of.")
    high: pl.Float64 = pa.Field(gt=0, description="Upper end of the band that the value is outside of.")
    robust_z: pl.Float64 = pa.Field(description="Robust standard deviations from the median, of logarithms.")
    rule: pl.String = pa.Field(isin=("robust_z", "iqr", "both"), description="The rule that flags it.")
    source_file: pl.String = pa.Field(description="Path of the file relative to landing.")
    source_row: pl.Int64 = pa.Field(ge=1, description="Number of the data row in the file or sheet, from 1.")
    delivery_id: pl.String = pa.Field(description="The delivery the line came with.")
    file_sha256: pl.String = pa.Field(description="SHA-256 of the kept file, hexadecimal.")


LINE_OUTLIERS = Table(
    "gold", "line_outliers", LineOutliers, key=("delivery_id", "file_sha256", "source_row", "measure")
)

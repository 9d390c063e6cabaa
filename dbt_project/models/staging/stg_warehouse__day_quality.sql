with

source as (
    select * from {{ source('warehouse', 'day_quality') }}
),

renamed as (
    select
        sale_date,
        delivered_rows,
        accepted_rows,
        rejected_rows,
        accepted_amount,
        rejected_amount,
        acceptance_pct,
        missing_invoice_rows,
        missing_stock_code_rows,
        invalid_quantity_rows,
        invalid_price_rows,
        adjustment_rows,
        zero_price_rows,
        test_line_rows,
        superseded_rows,
        duplicate_line_rows
    from source
)

select * from renamed

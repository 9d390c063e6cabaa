with

source as (
    select * from {{ source('warehouse', 'product_pair') }}
),

renamed as (
    select
        stock_code,
        other_stock_code,
        as_of_date,
        pair_count,
        invoice_count,
        other_invoice_count,
        support_pct,
        confidence_pct,
        lift,
        position
    from source
)

select * from renamed

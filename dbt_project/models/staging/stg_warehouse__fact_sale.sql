with

source as (
    select * from {{ source('warehouse', 'fact_sale') }}
),

renamed as (
    select
        sale_date,
        sale_id,
        product_key,
        customer_key,
        date_key,
        invoice_key,
        country_key,
        quantity,
        unit_price,
        total_amount,
        discount_amount,
        tax_amount,
        profit_amount,
        margin_percentage,
        line_type,
        is_cancelled,
        invoiced_at,
        created_at,
        batch_id,
        total_amount_eur,
        total_amount_usd
    from source
)

select * from renamed

with

source as (
    select * from {{ source('warehouse', 'dim_invoice') }}
),

renamed as (
    select
        sale_date,
        invoice_key,
        invoice_no,
        invoice_date,
        is_cancelled,
        payment_method,
        payment_status,
        payment_date,
        invoice_total,
        tax_amount,
        channel,
        sales_rep_id
    from source
)

select * from renamed

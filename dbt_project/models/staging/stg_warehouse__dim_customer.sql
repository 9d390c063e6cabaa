with

source as (
    select * from {{ source('warehouse', 'dim_customer') }}
),

-- Collation C: the same order on every server, and several times faster to sort.
renamed as (
    select
        customer_key,
        customer_id collate "C" as customer_id,
        customer_segment,
        registration_date,
        lifetime_value,
        total_orders,
        total_spent,
        avg_order_value,
        recency_score,
        frequency_score,
        monetary_score,
        rfm_segment,
        country,
        valid_from,
        valid_to,
        is_current,
        version
    from source
)

select * from renamed

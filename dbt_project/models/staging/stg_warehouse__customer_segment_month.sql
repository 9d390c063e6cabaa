with

source as (
    select * from {{ source('warehouse', 'customer_segment_month') }}
),

renamed as (
    select
        as_of_date,
        customer_id,
        rfm_segment,
        previous_segment,
        recency_score,
        frequency_score,
        monetary_score,
        order_count,
        net_revenue
    from source
)

select * from renamed

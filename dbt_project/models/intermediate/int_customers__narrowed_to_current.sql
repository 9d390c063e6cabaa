with

customers as (
    select * from {{ ref('stg_warehouse__dim_customer') }}
),

narrowed as (
    select
        customer_id,
        rfm_segment,
        customer_segment,
        country
    from customers
    where
        is_current
        and customer_id is not null
)

select * from narrowed

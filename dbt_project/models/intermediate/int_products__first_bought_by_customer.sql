{{
    config(
        materialized='incremental',
        incremental_strategy='day_range',
        unique_key='first_sale_month',
        on_schema_change='fail',
        pre_hook=many_facts('set local max_parallel_workers_per_gather = 0'),
        indexes=[{'columns': ['customer_id', 'stock_code']}, {'columns': ['first_sale_month']}],
    )
}}

with

sales as (
    select * from {{ ref('stg_warehouse__fact_sale') }}
    where
        line_type = 'product'
        and not is_cancelled
        and {{ is_in_day_range('sale_date', 'month_onward') }}
),

products as (
    select * from {{ ref('stg_warehouse__dim_product') }}
),

customers as (
    select * from {{ ref('stg_warehouse__dim_customer') }}
    where customer_id is not null
),

bought as (
    select
        products.stock_code,
        customers.customer_id,
        {{ month_of('min(sales.sale_date)') }} as first_sale_month
    from sales
    inner join products on sales.product_key = products.product_key
    inner join customers on sales.customer_key = customers.customer_key
    group by products.stock_code, customers.customer_id
)

select
    first_sale_month,
    stock_code,
    customer_id
from bought
{% if is_incremental() %}
-- Who bought it in a month before the run's is not new; those months do not depend on the run's.
where
    not exists (
        select 1
        from {{ this }} as before
        where
            before.customer_id = bought.customer_id
            and before.stock_code = bought.stock_code
            and not ({{ is_in_day_range('before.first_sale_month', 'month_onward') }})
    )
{% endif %}

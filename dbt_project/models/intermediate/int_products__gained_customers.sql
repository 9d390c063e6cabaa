{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='first_sale_month', on_schema_change='fail') }}

with

pairs as (
    select * from {{ ref('int_products__first_bought_by_customer') }}
    where {{ is_in_day_range('first_sale_month', 'month_onward') }}
),

counted as (
    select
        first_sale_month,
        stock_code,
        count(*) as new_customer_count
    from pairs
    group by first_sale_month, stock_code
)

select * from counted

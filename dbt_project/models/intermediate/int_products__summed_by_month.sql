{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_month', on_schema_change='fail') }}

with

sales as (
    select * from {{ ref('stg_warehouse__fact_sale') }}
    where
        line_type = 'product'
        and {{ is_in_day_range('sale_date', 'month') }}
),

products as (
    select * from {{ ref('stg_warehouse__dim_product') }}
),

customers as (
    select * from {{ ref('stg_warehouse__dim_customer') }}
),

-- An invoice has one day, so orders add up over months; customers do not, hence the list of them.
summed as (
    select
        date_trunc('month', sales.sale_date)::date as sale_month,
        products.stock_code,
        min(sales.sale_date) filter (where not sales.is_cancelled) as first_sale_date,
        max(sales.sale_date) filter (where not sales.is_cancelled) as last_sale_date,
        count(*) as line_count,
        count(distinct sales.invoice_key) filter (where not sales.is_cancelled) as order_count,
        coalesce(sum(sales.quantity) filter (where sales.quantity > 0), 0)::bigint as sold_unit_count,
        coalesce(-sum(sales.quantity) filter (where sales.quantity < 0), 0)::bigint as returned_unit_count,
        coalesce(sum(sales.total_amount) filter (where sales.quantity > 0), 0)::numeric(18, 4) as sold_amount,
        sum(sales.total_amount)::numeric(18, 4) as net_revenue,
        array_agg(distinct customers.customer_id) filter (
            where not sales.is_cancelled and customers.customer_id is not null
        ) as customer_ids
    from sales
    inner join products on sales.product_key = products.product_key
    inner join customers on sales.customer_key = customers.customer_key
    group by date_trunc('month', sales.sale_date), products.stock_code
)

select * from summed

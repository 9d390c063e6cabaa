{{ config(meta={'dagster': {'ref': {'name': 'product_performance'}}}) }}

-- The products' net revenue and classes cover the product lines, to the last decimal.
with

products as (
    select coalesce(sum(net_revenue), 0) as net_revenue from {{ ref('product_performance') }}
),

days as (
    select coalesce(sum(product_revenue), 0) as net_revenue from {{ ref('daily_sales') }}
)

select
    products.net_revenue as product_performance,
    days.net_revenue as daily_sales
from products
inner join days on products.net_revenue != days.net_revenue

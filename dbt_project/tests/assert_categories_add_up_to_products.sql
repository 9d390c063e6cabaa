{{ config(meta={'dagster': {'ref': {'name': 'category_sales'}}}) }}

-- The categories' net revenue, in each currency, and lines are those of the products, to the last decimal.
with

categories as (
    select
        coalesce(sum(net_revenue), 0) as net_revenue,
        coalesce(sum(line_count), 0) as line_count,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('category_sales') }}
),

products as (
    select
        coalesce(sum(net_revenue), 0) as net_revenue,
        coalesce(sum(line_count), 0) as line_count,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('product_performance') }}
)

select
    categories.net_revenue as category_sales,
    products.net_revenue as product_performance
from categories
inner join products
    on
        (categories.net_revenue, categories.line_count, categories.net_revenue_eur, categories.net_revenue_usd)
        is distinct from (products.net_revenue, products.line_count, products.net_revenue_eur, products.net_revenue_usd)

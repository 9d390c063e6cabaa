{{ config(meta={'dagster': {'ref': {'name': 'category_sales'}}}) }}

-- The categories' net revenue and lines are those of the products, to the last decimal.
with

categories as (
    select
        coalesce(sum(net_revenue), 0) as net_revenue,
        coalesce(sum(line_count), 0) as line_count
    from {{ ref('category_sales') }}
),

products as (
    select
        coalesce(sum(net_revenue), 0) as net_revenue,
        coalesce(sum(line_count), 0) as line_count
    from {{ ref('product_performance') }}
)

select
    categories.net_revenue as category_sales,
    products.net_revenue as product_performance
from categories
inner join products on (categories.net_revenue, categories.line_count) != (products.net_revenue, products.line_count)

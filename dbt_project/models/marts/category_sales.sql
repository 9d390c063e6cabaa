with

product_months as (
    select * from {{ ref('int_products__summed_by_month') }}
),

products as (
    select * from {{ ref('stg_warehouse__dim_product') }}
    where is_current
),

taxonomy as (
    select * from {{ ref('product_taxonomy') }}
),

summed as (
    select
        product_months.sale_month,
        coalesce(products.category, 'unclassified') as category,
        coalesce(products.subcategory, 'unclassified') as subcategory,
        count(*) as product_count,
        sum(product_months.line_count)::bigint as line_count,
        sum(product_months.sold_unit_count)::bigint as sold_unit_count,
        sum(product_months.returned_unit_count)::bigint as returned_unit_count,
        sum(product_months.net_revenue)::numeric(18, 4) as net_revenue,
        {{ whole_sum('product_months.net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('product_months.net_revenue_usd') }} as net_revenue_usd
    from product_months
    inner join products on product_months.stock_code = products.stock_code
    group by 1, 2, 3
),

described as (
    select
        summed.*,
        taxonomy.description as subcategory_description,
        summed.sold_unit_count - summed.returned_unit_count as unit_count,
        {{ percentage('summed.net_revenue', 'sum(summed.net_revenue) over (partition by summed.sale_month)') }} as net_revenue_share_pct
    from summed
    left join taxonomy
        on
            summed.category = taxonomy.category
            and summed.subcategory = taxonomy.subcategory
)

select
    sale_month,
    category,
    subcategory,
    subcategory_description,
    product_count,
    line_count,
    unit_count,
    sold_unit_count,
    returned_unit_count,
    net_revenue,
    net_revenue_share_pct,
    net_revenue_eur,
    net_revenue_usd
from described

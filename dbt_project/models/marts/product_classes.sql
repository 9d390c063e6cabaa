with

products as (
    select * from {{ ref('stg_warehouse__product_demand') }}
),

summed as (
    select
        abc_class,
        xyz_class,
        min(as_of_date) as as_of_date,
        count(*) as product_count,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        sum(sold_unit_count)::bigint as sold_unit_count,
        sum(returned_unit_count)::bigint as returned_unit_count,
        {{ percentage('sum(returned_unit_count)', 'sum(sold_unit_count)') }} as unit_return_rate_pct,
        {{ percentage('sum(returned_amount)', 'sum(sold_amount)') }} as amount_return_rate_pct
    from products
    group by
        abc_class,
        xyz_class
),

shared as (
    select
        *,
        {{ percentage('product_count', 'sum(product_count) over ()') }} as product_share_pct,
        {{ percentage('net_revenue', 'sum(net_revenue) over ()') }} as net_revenue_share_pct
    from summed
)

select * from shared

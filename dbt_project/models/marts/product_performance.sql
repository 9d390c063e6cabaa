with

product_months as (
    select * from {{ ref('int_products__summed_by_month') }}
),

products as (
    select * from {{ ref('stg_warehouse__dim_product') }}
    where is_current
),

buyers as (
    select
        stock_code,
        sum(new_customer_count)::bigint as customer_count
    from {{ ref('int_products__gained_customers') }}
    group by stock_code
),

summed as (
    select
        stock_code,
        min(first_sale_date) as first_sale_date,
        max(last_sale_date) as last_sale_date,
        sum(line_count)::bigint as line_count,
        sum(order_count)::bigint as order_count,
        sum(sold_unit_count)::bigint as sold_unit_count,
        sum(returned_unit_count)::bigint as returned_unit_count,
        sum(sold_amount) as sold_amount,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from product_months
    group by stock_code
),

ranked as (
    select
        *,
        row_number() over by_revenue as revenue_rank,
        sum(net_revenue) over by_revenue as cumulative_revenue,
        sum(net_revenue) over () as total_revenue
    from summed
    window by_revenue as (order by net_revenue desc, stock_code rows unbounded preceding)
),

-- A product is in the class that the ones before it have not filled: the one that crosses a limit still belongs to it,
-- so that a shop of one product has an A, and not a C.
classified as (
    select
        ranked.stock_code,
        products.description,
        products.category,
        ranked.first_sale_date,
        ranked.last_sale_date,
        ranked.line_count,
        ranked.order_count,
        coalesce(buyers.customer_count, 0) as customer_count,
        ranked.sold_unit_count - ranked.returned_unit_count as unit_count,
        ranked.sold_unit_count,
        ranked.returned_unit_count,
        {{ percentage('ranked.returned_unit_count', 'ranked.sold_unit_count') }} as return_rate_pct,
        {{ average('ranked.sold_amount', 'ranked.sold_unit_count') }} as avg_unit_price,
        ranked.net_revenue,
        ranked.revenue_rank,
        {{ percentage('ranked.net_revenue', 'ranked.total_revenue') }} as revenue_share_pct,
        {{ percentage('ranked.cumulative_revenue', 'ranked.total_revenue') }} as cumulative_share_pct,
        case
            when ranked.net_revenue <= 0 then 'C'
            when ranked.cumulative_revenue - ranked.net_revenue < 0.80 * ranked.total_revenue then 'A'
            when ranked.cumulative_revenue - ranked.net_revenue < 0.95 * ranked.total_revenue then 'B'
            else 'C'
        end as abc_class,
        ranked.net_revenue_eur,
        ranked.net_revenue_usd
    from ranked
    inner join products on ranked.stock_code = products.stock_code
    left join buyers on ranked.stock_code = buyers.stock_code
)

select * from classified

with

customers as (
    select * from {{ ref('customer_lifetime') }}
),

summed as (
    select
        rfm_segment,
        count(*) as customer_count,
        sum(order_count)::bigint as order_count,
        sum(total_spent)::numeric(18, 4) as total_spent,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        {{ average('sum(net_revenue)', 'count(*)') }} as avg_lifetime_value,
        {{ average('sum(total_spent)', 'sum(order_count)') }} as avg_order_value,
        round(avg(recency_days), 4)::numeric(18, 4) as avg_recency_days,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from customers
    group by rfm_segment
),

shared as (
    select
        *,
        {{ percentage('customer_count', 'sum(customer_count) over ()') }} as customer_share_pct,
        {{ percentage('net_revenue', 'sum(net_revenue) over ()') }} as net_revenue_share_pct
    from summed
)

select * from shared

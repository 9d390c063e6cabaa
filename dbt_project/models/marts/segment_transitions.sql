with

history as (
    select
        *,
        -- A customer has a row for every closed month since its first, so the next row is the month after.
        lead(net_revenue) over (partition by customer_id order by as_of_date) as next_month_revenue
    from {{ ref('stg_warehouse__customer_segment_month') }}
),

moved as (
    select
        {{ month_of('as_of_date') }} as sale_month,
        coalesce(previous_segment, 'Not Yet a Customer') as from_segment,
        rfm_segment as to_segment,
        count(*) as customer_count,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        sum(next_month_revenue)::numeric(18, 4) as next_month_revenue
    from history
    group by as_of_date, previous_segment, rfm_segment
),

shared as (
    select
        sale_month,
        from_segment,
        to_segment,
        customer_count,
        {{ percentage('customer_count', 'sum(customer_count) over (partition by sale_month, from_segment)') }} as from_share_pct,
        net_revenue,
        next_month_revenue
    from moved
)

select * from shared

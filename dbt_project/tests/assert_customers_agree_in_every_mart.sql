{{ config(meta={'dagster': {'ref': {'name': 'customer_lifetime'}}}) }}

-- Customers, their orders and their net revenue, in each currency, are the same in the months of known customers, in customer_lifetime and
-- in customer_segments; the cohorts hold every customer with an order.
with

totals as (
    select
        'int_customers__summed_by_month' as model,
        count(distinct customer_id) as customer_count,
        coalesce(sum(order_count), 0) as order_count,
        coalesce(sum(net_revenue), 0) as net_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('int_customers__summed_by_month') }}
    union all
    select
        'customer_lifetime' as model,
        count(*) as customer_count,
        coalesce(sum(order_count), 0) as order_count,
        coalesce(sum(net_revenue), 0) as net_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('customer_lifetime') }}
    union all
    select
        'customer_segments' as model,
        coalesce(sum(customer_count), 0) as customer_count,
        coalesce(sum(order_count), 0) as order_count,
        coalesce(sum(net_revenue), 0) as net_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('customer_segments') }}
),

cohorts as (
    select coalesce(sum(cohort_size), 0) as customer_count
    from {{ ref('cohort_retention') }}
    where month_number = 0
),

with_orders as (
    select count(*) as customer_count
    from {{ ref('customer_lifetime') }}
    where order_count > 0
)

select
    model,
    totals.customer_count,
    order_count,
    net_revenue
from totals
where (
    select
        count(distinct (
            totals.customer_count, totals.order_count, totals.net_revenue, totals.net_revenue_eur, totals.net_revenue_usd
        ))
    from totals
) > 1
union all
select
    'cohort_retention' as model,
    cohorts.customer_count,
    null as order_count,
    null as net_revenue
from cohorts
inner join with_orders on cohorts.customer_count != with_orders.customer_count

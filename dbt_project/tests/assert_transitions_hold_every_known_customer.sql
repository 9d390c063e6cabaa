{{ config(meta={'dagster': {'ref': {'name': 'segment_transitions'}}}) }}

-- The rows of each closed month hold every customer with a line up to its end, once, and what these bought in it.
with

newest as (
    select {{ month_of('max(sale_date)') }} as open_month from {{ ref('daily_sales') }}
),

customer_months as (
    select * from {{ ref('int_customers__summed_by_month') }} cross join newest
),

first_months as (
    select
        customer_id,
        open_month,
        min(sale_month) as first_month
    from customer_months
    group by customer_id, open_month
),

known as (
    select
        sale_month::date as sale_month,
        count(*) as customer_count
    from first_months
    cross join lateral generate_series(first_month, open_month - interval '1 month', interval '1 month') as sale_month
    group by sale_month
),

bought as (
    select
        sale_month,
        sum(net_revenue) as net_revenue
    from customer_months
    where sale_month < open_month
    group by sale_month
),

expected as (
    select
        known.sale_month,
        known.customer_count,
        coalesce(bought.net_revenue, 0) as net_revenue
    from known
    left join bought on known.sale_month = bought.sale_month
),

found as (
    select
        sale_month,
        sum(customer_count) as customer_count,
        sum(net_revenue) as net_revenue
    from {{ ref('segment_transitions') }}
    group by sale_month
)

select
    sale_month,
    expected.customer_count as expected_count,
    found.customer_count as found_count,
    expected.net_revenue as expected_revenue,
    found.net_revenue as found_revenue
from expected
full outer join found using (sale_month)
where
    expected.customer_count is distinct from found.customer_count
    or expected.net_revenue is distinct from found.net_revenue

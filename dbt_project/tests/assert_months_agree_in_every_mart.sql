{{ config(meta={'dagster': {'ref': {'name': 'monthly_sales'}}}) }}

-- A month has the same amounts and orders in daily_sales, monthly_sales and country_sales.
with

days as (
    select
        {{ month_of('sale_date') }} as sale_month,
        sum(net_revenue) as net_revenue,
        sum(order_count) as order_count,
        sum(line_count) as line_count,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('daily_sales') }}
    group by {{ month_of('sale_date') }}
),

months as (
    select
        sale_month,
        net_revenue,
        order_count,
        line_count,
        net_revenue_eur,
        net_revenue_usd
    from {{ ref('monthly_sales') }}
),

countries as (
    select
        sale_month,
        sum(net_revenue) as net_revenue,
        sum(line_count) as line_count,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from {{ ref('country_sales') }}
    group by sale_month
)

select
    sale_month,
    days.net_revenue as daily_sales,
    months.net_revenue as monthly_sales,
    countries.net_revenue as country_sales
from days
full join months using (sale_month)
full join countries using (sale_month)
where
    (days.net_revenue, days.order_count, days.line_count)
    is distinct from (months.net_revenue, months.order_count, months.line_count)
    or (months.net_revenue, months.line_count, months.net_revenue_eur, months.net_revenue_usd)
    is distinct from (countries.net_revenue, countries.line_count, countries.net_revenue_eur, countries.net_revenue_usd)
    or (months.net_revenue_eur, months.net_revenue_usd) is distinct from (days.net_revenue_eur, days.net_revenue_usd)

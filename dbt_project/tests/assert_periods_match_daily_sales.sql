{{ config(meta={'dagster': {'ref': {'name': 'sales_by_period'}}}) }}

-- Every period has the amounts, orders and lines of its days, and every day is in one period of each granularity.
with

periods as (
    select
        granularity,
        period,
        net_revenue,
        order_count,
        line_count,
        sum(line_count) over (partition by granularity) as all_lines
    from {{ ref('sales_by_period') }}
),

days as (
    select
        sales_by_period.granularity,
        sales_by_period.period,
        sum(daily_sales.net_revenue) as net_revenue,
        sum(daily_sales.order_count) as order_count,
        sum(daily_sales.line_count) as line_count
    from {{ ref('sales_by_period') }} as sales_by_period
    left join {{ ref('daily_sales') }} as daily_sales
        on
            daily_sales.sale_date >= sales_by_period.period
            and daily_sales.sale_date < sales_by_period.period_to
    group by sales_by_period.granularity, sales_by_period.period
),

totals as (
    select coalesce(sum(line_count), 0) as all_lines from {{ ref('daily_sales') }}
)

select
    periods.granularity,
    periods.period,
    periods.net_revenue,
    days.net_revenue as expected_net_revenue,
    periods.all_lines,
    totals.all_lines as expected_all_lines
from periods
inner join days using (granularity, period)
cross join totals
where
    (periods.net_revenue, periods.order_count, periods.line_count)
    is distinct from (days.net_revenue, days.order_count, days.line_count)
    or periods.all_lines != totals.all_lines

{{ config(meta={'dagster': {'ref': {'name': 'daily_sales'}}}) }}

-- Every day of the run's range is in daily_sales with the lines and amounts of its facts, and no other day of it is. Every
-- day there is has the lines and the amount that day_quality says silver has, so that all facts need not be read for one new
-- day: also shows a day that was loaded after a run that never got as far as replacing it.
with

facts as (
    select
        sale_date,
        count(*) as line_count,
        sum(total_amount) as net_revenue,
        {{ whole_sum('total_amount_eur') }} as net_revenue_eur,
        {{ whole_sum('total_amount_usd') }} as net_revenue_usd
    from {{ ref('stg_warehouse__fact_sale') }}
    where {{ is_in_run('sale_date') }}
    group by sale_date
),

in_run as (
    select * from {{ ref('daily_sales') }}
    where {{ is_in_run('sale_date') }}
),

days as (
    select
        sale_date,
        accepted_rows as line_count,
        accepted_amount as net_revenue
    from {{ ref('stg_warehouse__day_quality') }}
    where accepted_rows > 0
)

select
    sale_date,
    'fact_sale' as expected_by,
    facts.line_count as expected_line_count,
    in_run.line_count,
    facts.net_revenue as expected_net_revenue,
    in_run.net_revenue,
    facts.net_revenue_eur as expected_net_revenue_eur,
    in_run.net_revenue_eur
from facts
full join in_run using (sale_date)
where
    (facts.line_count, facts.net_revenue, facts.net_revenue_eur, facts.net_revenue_usd)
    is distinct from (in_run.line_count, in_run.net_revenue, in_run.net_revenue_eur, in_run.net_revenue_usd)
union all
select
    sale_date,
    'day_quality' as expected_by,
    days.line_count as expected_line_count,
    daily_sales.line_count,
    days.net_revenue as expected_net_revenue,
    daily_sales.net_revenue,
    null as expected_net_revenue_eur,
    null as net_revenue_eur
from days
full join {{ ref('daily_sales') }} as daily_sales using (sale_date)
where (days.line_count, days.net_revenue) is distinct from (daily_sales.line_count, daily_sales.net_revenue)

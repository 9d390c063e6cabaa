{{ config(meta={'dagster': {'ref': {'name': 'revenue_outlook'}}}) }}
-- What came of all countries is the day's net revenue, and the groups add up to it; on days after the forecast began.
with

outlook as (
    select
        forecast_date,
        sum(actual_revenue) filter (where country_group = 'All countries') as whole,
        sum(actual_revenue) filter (where country_group <> 'All countries') as parts
    from {{ ref('revenue_outlook') }}
    where actual_revenue is not null
    group by forecast_date
)

select
    outlook.forecast_date,
    outlook.whole,
    outlook.parts,
    daily_sales.net_revenue
from outlook
left join {{ ref('daily_sales') }} as daily_sales on outlook.forecast_date = daily_sales.sale_date
where
    outlook.whole is distinct from coalesce(daily_sales.net_revenue, 0)
    or outlook.parts is distinct from outlook.whole

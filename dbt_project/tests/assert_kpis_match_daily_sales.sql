{{ config(meta={'dagster': {'ref': {'name': 'kpi_overview'}}}) }}

-- The amounts of every period, and of the span before, are those of its days in daily_sales.
with

kpis as (
    select * from {{ ref('kpi_overview') }}
    where metric = 'net_revenue'
),

days as (
    select
        kpis.period,
        coalesce(sum(daily_sales.net_revenue) filter (where daily_sales.sale_date >= kpis.from_date), 0) as value,
        coalesce(sum(daily_sales.net_revenue) filter (where daily_sales.sale_date < kpis.previous_to_date), 0) as previous_value
    from kpis
    left join {{ ref('daily_sales') }} as daily_sales
        on
            (daily_sales.sale_date >= kpis.from_date and daily_sales.sale_date < kpis.to_date)
            or (daily_sales.sale_date >= kpis.previous_from_date and daily_sales.sale_date < kpis.previous_to_date)
    group by kpis.period
)

select
    kpis.period,
    kpis.value,
    days.value as expected_value,
    kpis.previous_value,
    days.previous_value as expected_previous_value
from kpis
inner join days on kpis.period = days.period
where
    kpis.value != days.value
    or kpis.previous_value != days.previous_value

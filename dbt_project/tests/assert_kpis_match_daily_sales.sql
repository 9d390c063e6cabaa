{{ config(meta={'dagster': {'ref': {'name': 'kpi_overview'}}}) }}

-- The net revenue of every period, in each currency, and of the span before, are those of its days in daily_sales.
with

kpis as (
    select * from {{ ref('kpi_overview') }}
    where metric in ('net_revenue', 'net_revenue_eur', 'net_revenue_usd')
),

amounts as (
    select
        daily_sales.sale_date,
        amount.*
    from {{ ref('daily_sales') }} as daily_sales
    cross join lateral (
        values
        ('net_revenue', daily_sales.net_revenue),
        ('net_revenue_eur', daily_sales.net_revenue_eur),
        ('net_revenue_usd', daily_sales.net_revenue_usd)
    ) as amount (metric, value)
),

-- A day without a rate leaves its span without an amount; a span without a day has 0.
days as (
    select
        kpis.period,
        kpis.metric,
        case
            when not coalesce(bool_or(amounts.value is null and amounts.sale_date >= kpis.from_date), false)
                then coalesce(sum(amounts.value) filter (where amounts.sale_date >= kpis.from_date), 0)
        end as value,
        case
            when not coalesce(bool_or(amounts.value is null and amounts.sale_date < kpis.previous_to_date), false)
                then coalesce(sum(amounts.value) filter (where amounts.sale_date < kpis.previous_to_date), 0)
        end as previous_value
    from kpis
    left join amounts
        on
            kpis.metric = amounts.metric
            and (
                (amounts.sale_date >= kpis.from_date and amounts.sale_date < kpis.to_date)
                or (amounts.sale_date >= kpis.previous_from_date and amounts.sale_date < kpis.previous_to_date)
            )
    group by kpis.period, kpis.metric
)

select
    kpis.period,
    kpis.metric,
    kpis.value,
    days.value as expected_value,
    kpis.previous_value,
    days.previous_value as expected_previous_value
from kpis
inner join days
    on
        kpis.period = days.period
        and kpis.metric = days.metric
where
    kpis.value is distinct from days.value
    or kpis.previous_value != days.previous_value

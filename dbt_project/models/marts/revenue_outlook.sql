with

forecast as (
    select * from {{ ref('stg_warehouse__revenue_forecast') }}
),

-- The same groups as country_group in retail_platform/transforms/revenue_series.py.
countries as (
    select
        country_key,
        case
            when country_code = 'GB' then 'United Kingdom'
            when is_eu_member then 'European Union'
            else 'Rest of the world'
        end as country_group
    from {{ ref('stg_warehouse__dim_country') }}
),

sales as (
    select
        invoices.sale_date,
        countries.country_group,
        invoices.net_revenue
    from {{ ref('int_invoices__pivoted_by_line_type') }} as invoices
    inner join countries on invoices.country_key = countries.country_key
    where invoices.sale_date > (select max(as_of_date) from forecast)
),

newest as (
    select max(sale_date) as sale_date from sales
),

came as (
    select
        sale_date,
        coalesce(country_group, 'All countries') as country_group,
        sum(net_revenue) as net_revenue
    from sales
    group by grouping sets ((sale_date, country_group), (sale_date))
),

paths as (
    select
        country_group,
        forecast_date,
        max(expected_revenue) filter (where scenario = 'pessimistic')::numeric(18, 4) as pessimistic_revenue,
        max(expected_revenue) filter (where scenario = 'optimistic')::numeric(18, 4) as optimistic_revenue
    from forecast
    group by country_group, forecast_date
),

-- A day up to the newest one with a sale is over: without a sale of the group it brought 0.
beside as (
    select
        forecast.country_group,
        forecast.forecast_date,
        forecast.as_of_date,
        forecast.model,
        forecast.is_open,
        forecast.expected_revenue,
        forecast.low_80,
        forecast.high_80,
        forecast.low_95,
        forecast.high_95,
        paths.pessimistic_revenue,
        paths.optimistic_revenue,
        case when forecast.forecast_date <= newest.sale_date then coalesce(came.net_revenue, 0) end::numeric(18, 4) as actual_revenue
    from forecast
    inner join paths
        on
            forecast.country_group = paths.country_group
            and forecast.forecast_date = paths.forecast_date
    cross join newest
    left join came
        on
            forecast.country_group = came.country_group
            and forecast.forecast_date = came.sale_date
    where forecast.scenario = 'baseline'
)

select
    *,
    {{ percent_change('actual_revenue', 'expected_revenue') }} as deviation_pct,
    actual_revenue not between low_95 and high_95 as is_outside_95
from beside

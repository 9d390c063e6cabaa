with

backtest as (
    select * from {{ ref('stg_warehouse__forecast_backtest') }}
),

pooled as (
    select
        subject,
        series,
        model,
        bool_or(is_chosen) as is_chosen,
        max(as_of_date) as as_of_date,
        count(*) as origin_count,
        min(origin_date) as first_origin_date,
        max(origin_date) as last_origin_date,
        avg(mae) as mae,
        avg(naive_mae) as naive_mae,
        sum(mae) / nullif(sum(naive_mae), 0) as mase,
        count(*) filter (where mae < naive_mae) as won_origin_count,
        avg(coverage_80_pct) as coverage_80_pct,
        avg(coverage_95_pct) as coverage_95_pct,
        100 * (sum(expected_total) / nullif(sum(actual_total), 0) - 1) as bias_pct
    from backtest
    group by subject, series, model
)

select
    subject,
    series,
    model,
    is_chosen,
    as_of_date,
    origin_count,
    first_origin_date,
    last_origin_date,
    round(mae::numeric, 4)::numeric(18, 4) as mae,
    round(naive_mae::numeric, 4)::numeric(18, 4) as naive_mae,
    round(mase::numeric, 4)::numeric(18, 4) as mase,
    won_origin_count,
    round(coverage_80_pct::numeric, 4)::numeric(9, 4) as coverage_80_pct,
    round(coverage_95_pct::numeric, 4)::numeric(9, 4) as coverage_95_pct,
    round(bias_pct::numeric, 4)::numeric(18, 4) as bias_pct
from pooled

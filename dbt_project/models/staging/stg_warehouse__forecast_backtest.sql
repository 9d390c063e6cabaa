with

source as (
    select * from {{ source('warehouse', 'forecast_backtest') }}
),

renamed as (
    select
        subject,
        series,
        model,
        origin_date,
        as_of_date,
        horizon,
        mae,
        naive_mae,
        mase,
        coverage_80_pct,
        coverage_95_pct,
        expected_total,
        actual_total,
        is_chosen
    from source
)

select * from renamed

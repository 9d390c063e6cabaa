with

source as (
    select * from {{ source('warehouse', 'revenue_forecast') }}
),

renamed as (
    select
        country_group,
        scenario,
        forecast_date,
        as_of_date,
        is_open,
        expected_revenue,
        low_80,
        high_80,
        low_95,
        high_95,
        model
    from source
)

select * from renamed

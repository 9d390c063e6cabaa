with

source as (
    select * from {{ source('warehouse', 'dim_date') }}
),

renamed as (
    select
        date_key,
        date as calendar_date,
        year,
        quarter,
        month,
        month_name,
        week,
        day_of_month,
        day_of_week,
        day_name,
        is_weekend,
        is_holiday,
        holiday_name,
        fiscal_year,
        fiscal_quarter
    from source
)

select * from renamed

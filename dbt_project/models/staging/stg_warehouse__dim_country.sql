with

source as (
    select * from {{ source('warehouse', 'dim_country') }}
),

renamed as (
    select
        country_key,
        country_code,
        country_name,
        region,
        continent,
        currency_code,
        gdp_per_capita,
        population,
        timezone,
        latitude,
        longitude,
        is_eu_member,
        tax_rate
    from source
)

select * from renamed

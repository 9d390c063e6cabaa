with

summed as (
    select * from {{ ref('int_countries__summed_by_month') }}
),

countries as (
    select * from {{ ref('stg_warehouse__dim_country') }}
),

named as (
    select
        summed.*,
        countries.country_code,
        countries.country_name,
        {{ percentage('summed.net_revenue', 'sum(summed.net_revenue) over (partition by summed.sale_month)') }} as net_revenue_share_pct
    from summed
    inner join countries on summed.country_key = countries.country_key
)

select * from named

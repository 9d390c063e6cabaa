with

invoices as (
    select
        *,
        {{ month_of('sale_date') }} as sale_month
    from {{ ref('int_invoices__pivoted_by_line_type') }}
),

countries as (
    select * from {{ ref('stg_warehouse__dim_country') }}
),

summed as (
    select
        country_key,
        sale_month,
        {{ sales_measures() }}
    from invoices
    group by country_key, sale_month
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

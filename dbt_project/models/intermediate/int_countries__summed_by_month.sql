{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_month', on_schema_change='append_new_columns') }}

with

invoices as (
    select
        *,
        {{ month_of('sale_date') }} as sale_month
    from {{ ref('int_invoices__pivoted_by_line_type') }}
    where {{ is_in_day_range('sale_date', 'month') }}
),

summed as (
    select
        country_key,
        sale_month,
        {{ sales_measures() }}
    from invoices
    group by country_key, sale_month
)

select * from summed

{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_date', on_schema_change='append_new_columns') }}

with

invoices as (
    select * from {{ ref('int_invoices__pivoted_by_line_type') }}
    where {{ is_in_day_range('sale_date') }}
),

summed as (
    select
        sale_date,
        {{ sales_measures() }}
    from invoices
    group by sale_date
)

select * from summed

{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_date', on_schema_change='fail', indexes=[{'columns': ['sale_date']}]) }}

with

invoices as (
    select * from {{ ref('int_invoices__pivoted_by_line_type') }}
    where {{ is_in_day_range('sale_date') }}
),

ordered as (
    select distinct
        sale_date,
        customer_id
    from invoices
    where
        not is_cancelled
        and customer_id is not null
)

select * from ordered

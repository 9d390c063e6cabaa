{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_month', on_schema_change='append_new_columns') }}

with

invoices as (
    select * from {{ ref('int_invoices__pivoted_by_line_type') }}
    where
        customer_id is not null
        and {{ is_in_day_range('sale_date', 'month') }}
),

-- An invoice has one day, so orders add up over months.
summed as (
    select
        {{ month_of('sale_date') }} as sale_month,
        customer_id,
        min(sale_date) filter (where not is_cancelled) as first_order_date,
        max(sale_date) filter (where not is_cancelled) as last_order_date,
        count(distinct invoice_key) filter (where not is_cancelled) as order_count,
        count(distinct invoice_key) filter (where is_cancelled) as cancelled_order_count,
        coalesce(sum(net_revenue) filter (where not is_cancelled), 0)::numeric(18, 4) as total_spent,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        sum(product_revenue)::numeric(18, 4) as product_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from invoices
    group by 1, 2
)

select * from summed

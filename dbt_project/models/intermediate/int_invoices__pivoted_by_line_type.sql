{{
    config(
        materialized='incremental',
        incremental_strategy='day_range',
        unique_key='sale_date',
        on_schema_change='append_new_columns',
        pre_hook=many_facts('set local enable_partitionwise_aggregate = on'),
        indexes=[{'columns': ['sale_date']}],
    )
}}

with

sales as (
    select * from {{ ref('stg_warehouse__fact_sale') }}
    where {{ is_in_day_range('sale_date') }}
),

customers as (
    select * from {{ ref('stg_warehouse__dim_customer') }}
),

-- Summed by version key before anything else: the facts are read once, and what follows handles a twentieth of them.
by_line_type as (
    select
        sale_date,
        invoice_key,
        customer_key,
        country_key,
        is_cancelled,
        line_type,
        count(*) as line_count,
        sum(quantity) as unit_count,
        sum(total_amount) as net_revenue,
        {{ whole_sum('total_amount_eur') }} as net_revenue_eur,
        {{ whole_sum('total_amount_usd') }} as net_revenue_usd
    from sales
    group by sale_date, invoice_key, customer_key, country_key, is_cancelled, line_type
),

-- The customer's number, not the key: late data re-keys facts of other days, which a run over a range does not touch.
pivoted as (
    select
        by_line_type.sale_date,
        by_line_type.invoice_key,
        customers.customer_id,
        by_line_type.country_key,
        by_line_type.is_cancelled,
        sum(by_line_type.line_count)::bigint as line_count,
        sum(by_line_type.unit_count)::bigint as unit_count,
        sum(by_line_type.net_revenue)::numeric(18, 4) as net_revenue
        {%- for line_type in var('line_types') %},
        coalesce(
            sum(by_line_type.net_revenue) filter (where by_line_type.line_type = '{{ line_type }}'), 0
        )::numeric(18, 4) as {{ line_type }}_revenue
        {%- endfor %},
        {{ whole_sum('by_line_type.net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('by_line_type.net_revenue_usd') }} as net_revenue_usd
    from by_line_type
    inner join customers on by_line_type.customer_key = customers.customer_key
    group by
        by_line_type.sale_date,
        by_line_type.invoice_key,
        customers.customer_id,
        by_line_type.country_key,
        by_line_type.is_cancelled
)

select * from pivoted

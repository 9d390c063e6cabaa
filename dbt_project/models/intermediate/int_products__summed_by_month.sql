{{ config(materialized='incremental', incremental_strategy='day_range', unique_key='sale_month', on_schema_change='append_new_columns') }}

with

sales as (
    select * from {{ ref('stg_warehouse__fact_sale') }}
    where
        line_type = 'product'
        and {{ is_in_day_range('sale_date', 'month') }}
),

products as (
    select * from {{ ref('stg_warehouse__dim_product') }}
),

customers as (
    select * from {{ ref('stg_warehouse__dim_customer') }}
),

-- By key, as sorting a million texts takes three times as long; a product has one version in a month.
-- An invoice has one day, so orders add up over months; customers do not, hence the list of them.
summed as (
    select
        {{ month_of('sale_date') }} as sale_month,
        product_key,
        min(sale_date) filter (where not is_cancelled) as first_sale_date,
        max(sale_date) filter (where not is_cancelled) as last_sale_date,
        count(*) as line_count,
        count(distinct invoice_key) filter (where not is_cancelled) as order_count,
        coalesce(sum(quantity) filter (where quantity > 0), 0)::bigint as sold_unit_count,
        coalesce(-sum(quantity) filter (where quantity < 0), 0)::bigint as returned_unit_count,
        coalesce(sum(total_amount) filter (where quantity > 0), 0)::numeric(18, 4) as sold_amount,
        sum(total_amount)::numeric(18, 4) as net_revenue,
        {{ whole_sum('total_amount_eur') }} as net_revenue_eur,
        {{ whole_sum('total_amount_usd') }} as net_revenue_usd,
        array_agg(distinct customer_key) filter (where not is_cancelled) as customer_keys
    from sales
    group by 1, 2
),

buyers as (
    select
        bought.sale_month,
        bought.product_key,
        array_agg(customers.customer_id) as customer_ids
    from (
        select
            sale_month,
            product_key,
            unnest(customer_keys) as customer_key
        from summed
    ) as bought
    inner join customers on bought.customer_key = customers.customer_key
    where customers.customer_id is not null
    group by bought.sale_month, bought.product_key
),

named as (
    select
        summed.sale_month,
        products.stock_code,
        summed.first_sale_date,
        summed.last_sale_date,
        summed.line_count,
        summed.order_count,
        summed.sold_unit_count,
        summed.returned_unit_count,
        summed.sold_amount,
        summed.net_revenue,
        summed.net_revenue_eur,
        summed.net_revenue_usd,
        buyers.customer_ids
    from summed
    inner join products on summed.product_key = products.product_key
    left join buyers
        on
            summed.sale_month = buyers.sale_month
            and summed.product_key = buyers.product_key
)

select * from named

with

customer_months as (
    select * from {{ ref('int_customers__summed_by_month') }}
),

customers as (
    select * from {{ ref('int_customers__narrowed_to_current') }}
),

newest as (
    select max(sale_date) as as_of_date from {{ ref('daily_sales') }}
),

summed as (
    select
        customer_id,
        min(first_order_date) as first_order_date,
        max(last_order_date) as last_order_date,
        sum(order_count)::bigint as order_count,
        sum(cancelled_order_count)::bigint as cancelled_order_count,
        sum(total_spent)::numeric(18, 4) as total_spent,
        sum(net_revenue)::numeric(18, 4) as net_revenue,
        sum(product_revenue)::numeric(18, 4) as product_revenue,
        {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
    from customer_months
    group by customer_id
),

described as (
    select
        summed.*,
        customers.rfm_segment,
        customers.customer_segment,
        customers.country,
        newest.as_of_date,
        {{ average('summed.total_spent', 'summed.order_count') }} as avg_order_value,
        newest.as_of_date - summed.first_order_date as tenure_days,
        newest.as_of_date - summed.last_order_date as recency_days
    from summed
    inner join customers on summed.customer_id = customers.customer_id
    cross join newest
)

select * from described

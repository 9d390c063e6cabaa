with

invoices as (
    select * from {{ ref('int_invoices__pivoted_by_line_type') }}
),

customers as (
    select * from {{ ref('int_customers__narrowed_to_current') }}
),

newest as (
    select max(sale_date) as as_of_date from invoices
),

summed as (
    select
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
    where customer_id is not null
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

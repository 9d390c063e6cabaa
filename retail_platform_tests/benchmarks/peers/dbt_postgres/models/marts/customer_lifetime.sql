with newest as (select max(sale_date) as as_of_date from {{ ref('invoice_measures') }}), summed as (
    select customer_id, min(sale_date) filter (where not is_cancelled) as first_order_date,
        max(sale_date) filter (where not is_cancelled) as last_order_date,
        count(distinct invoice_key) filter (where not is_cancelled) as order_count,
        count(distinct invoice_key) filter (where is_cancelled) as cancelled_order_count,
        coalesce(sum(net_revenue) filter (where not is_cancelled), 0) as total_spent, sum(net_revenue) as net_revenue,
        sum(product_revenue) as product_revenue
    from {{ ref('invoice_measures') }} where customer_id is not null group by 1
)
select s.*, c.rfm_segment, c.customer_segment, c.country, n.as_of_date, n.as_of_date - s.last_order_date as recency_days
from summed as s join {{ ref('dim_customer') }} as c on c.customer_id = s.customer_id and c.is_current cross join newest as n

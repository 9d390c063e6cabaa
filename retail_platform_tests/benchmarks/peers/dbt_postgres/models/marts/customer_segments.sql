select rfm_segment, count(*) as customer_count, sum(order_count) as order_count, sum(total_spent) as total_spent,
    sum(net_revenue) as net_revenue, round(avg(recency_days), 4) as avg_recency_days
from {{ ref('customer_lifetime') }} group by 1

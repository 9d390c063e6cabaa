with closes as (
    select generate_series(min(sale_month), max(sale_month) - interval '1 month', interval '1 month')::date as close
    from {{ ref('sales') }}
), bought as (
    select c.close, m.customer_id, max(last_order_date) as recency, sum(orders) as frequency, sum(product_revenue) as monetary
    from {{ ref('customer_months') }} as m
    join closes as c on m.sale_month between c.close - interval '11 month' and c.close
    group by 1, 2 having sum(orders) > 0
), scored as (
    select close, customer_id,
        (1 + 5 * (rank() over (partition by close order by recency) - 1) / count(*) over (partition by close))::smallint as r,
        (1 + 5 * (rank() over (partition by close order by frequency) - 1) / count(*) over (partition by close))::smallint as f,
        (1 + 5 * (rank() over (partition by close order by monetary) - 1) / count(*) over (partition by close))::smallint as m
    from bought
)
select *, case
    when r >= 4 and f >= 4 and m >= 4 then 'Champions'
    when r <= 2 and f >= 4 and m >= 4 then 'Cannot Lose Them'
    when r <= 2 and (f >= 3 or m >= 4) then 'At Risk'
    when r >= 3 and f >= 3 then 'Loyal Customers'
    when r >= 3 and m >= 4 then 'Big Spenders'
    when r >= 4 and f = 1 then 'New Customers'
    else 'Others' end as segment
from scored

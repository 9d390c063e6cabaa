with summed as (
    select p.stock_code, min(f.sale_date) filter (where not f.is_cancelled) as first_sale_date,
        max(f.sale_date) filter (where not f.is_cancelled) as last_sale_date, count(*) as line_count,
        count(distinct f.invoice_key) filter (where not f.is_cancelled) as order_count,
        count(distinct c.customer_id) filter (where not f.is_cancelled) as customer_count,
        coalesce(sum(f.quantity) filter (where f.quantity > 0), 0) as sold_unit_count,
        coalesce(-sum(f.quantity) filter (where f.quantity < 0), 0) as returned_unit_count,
        coalesce(sum(f.total_amount) filter (where f.quantity > 0), 0) as sold_amount, sum(f.total_amount) as net_revenue,
        sum(f.total_amount_eur) as net_revenue_eur, sum(f.total_amount_usd) as net_revenue_usd
    from {{ ref('fact_sale') }} as f join {{ ref('dim_product') }} as p using (product_key)
    join {{ ref('dim_customer') }} as c using (customer_key)
    where f.line_type = 'product' group by 1
), ranked as (
    select *, row_number() over w as revenue_rank, sum(net_revenue) over w as cumulative_revenue, sum(net_revenue) over () as total_revenue
    from summed window w as (order by net_revenue desc, stock_code rows unbounded preceding)
)
select r.*, d.description, case
    when net_revenue <= 0 then 'C' when cumulative_revenue - net_revenue < 0.80 * total_revenue then 'A'
    when cumulative_revenue - net_revenue < 0.95 * total_revenue then 'B' else 'C' end as abc_class
from ranked as r join {{ ref('dim_product') }} as d on d.stock_code = r.stock_code and d.is_current

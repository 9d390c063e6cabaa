with summed as (
    select sale_date, invoice_key, customer_key, country_key, is_cancelled, line_type, count(*) as line_count,
        sum(quantity) as unit_count, sum(total_amount) as net_revenue, sum(total_amount_eur) as net_revenue_eur,
        sum(total_amount_usd) as net_revenue_usd
    from {{ ref('fact_sale') }} group by 1, 2, 3, 4, 5, 6
)
select s.sale_date, s.invoice_key, c.customer_id, s.country_key, s.is_cancelled, sum(line_count) as line_count,
    sum(unit_count) as unit_count, sum(net_revenue) as net_revenue,
    {%- for line_type in ['product', 'postage', 'fee', 'discount', 'gift_voucher', 'manual', 'sample', 'other'] %}
    coalesce(sum(net_revenue) filter (where line_type = '{{ line_type }}'), 0) as {{ line_type }}_revenue,
    {%- endfor %}
    sum(net_revenue_eur) as net_revenue_eur, sum(net_revenue_usd) as net_revenue_usd
from summed as s join {{ ref('dim_customer') }} as c using (customer_key)
group by 1, 2, 3, 4, 5

select 1 where (select sum(line_amount) from {{ ref('sales') }}) <> (select sum(total_amount) from {{ ref('fact_sale') }})
    or (select sum(line_amount) from {{ ref('sales') }}) <> (select sum(net_revenue) from {{ ref('daily_sales') }})

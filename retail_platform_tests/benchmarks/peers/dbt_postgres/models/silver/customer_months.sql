with firsts as (
    select sale_month, customer_id, min(sale_date) as first_date from {{ ref('sales') }}
    where customer_id is not null group by 1, 2
), lines as (
    select s.*, s.sale_date = f.first_date as is_first, f.first_date
    from {{ ref('sales') }} as s join firsts as f using (sale_month, customer_id)
), countries as (
    select distinct on (sale_month, customer_id) sale_month, customer_id, country from lines where country is not null
    order by sale_month, customer_id, invoiced_at desc, invoice_no collate "C" desc, country collate "C" desc
), first_countries as (
    select distinct on (sale_month, customer_id) sale_month, customer_id, country as first_country
    from lines where country is not null and is_first
    order by sale_month, customer_id, invoiced_at desc, invoice_no collate "C" desc, country collate "C" desc
), summed as (
    select sale_month, customer_id, first_date,
        count(distinct (invoice_no, sale_date)) filter (where not is_cancelled) as orders,
        max(sale_date) filter (where not is_cancelled) as last_order_date,
        coalesce(sum(line_amount) filter (where not is_cancelled), 0) as spent,
        sum(line_amount) as net_revenue,
        coalesce(sum(line_amount) filter (where line_type = 'product'), 0) as product_revenue,
        count(distinct invoice_no) filter (where is_first and not is_cancelled) as first_orders,
        coalesce(sum(line_amount) filter (where is_first and not is_cancelled), 0) as first_spent,
        coalesce(sum(line_amount) filter (where is_first), 0) as first_net_revenue
    from lines group by 1, 2, 3
)
select * from summed left join countries using (sale_month, customer_id) left join first_countries using (sale_month, customer_id)

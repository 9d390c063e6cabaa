{{ config(indexes=[{'columns': ['sale_date']}, {'columns': ['sale_id'], 'unique': true}]) }}
with spelling as (
    select spelling, case when member ~ '^[A-Z]{2}$' then {{ key(['member']) }} else member::bigint end as country_key
    from {{ source('raw', 'country_aliases') }}
), month as (select distinct sale_month from {{ ref('sales') }}), product as (
    select m.sale_month, p.stock_code, p.product_key from {{ ref('dim_product') }} as p join month as m
        on p.valid_from < m.sale_month + interval '1 month' and coalesce(p.valid_to, date '9999-01-01') > m.sale_month
), customer as (
    select m.sale_month, c.customer_id, c.customer_key from {{ ref('dim_customer') }} as c join month as m
        on c.valid_from < m.sale_month + interval '1 month' and coalesce(c.valid_to, date '9999-01-01') > m.sale_month
    where c.customer_id is not null
)
select l.sale_month, l.sale_date,
    md5(concat_ws('|', l.invoice_no, l.stock_code, coalesce(l.description, '-'), l.quantity, l.invoiced_at, l.unit_price,
        coalesce(l.customer_id, '-'), coalesce(l.country, '-')))::uuid as sale_id,
    p.product_key, case when l.customer_id is null then -1 else c.customer_key end as customer_key,
    to_char(l.sale_date, 'YYYYMMDD')::integer as date_key,
    {{ key(['l.invoice_no', 'l.sale_date::text']) }} as invoice_key, coalesce(s.country_key, -1) as country_key,
    l.quantity, l.unit_price, l.line_amount as total_amount, l.line_type, l.is_cancelled, l.invoiced_at, l.file_name as batch_id,
    {{ converted('l.line_amount', 'r.eur', 'r.gbp') }} as total_amount_eur,
    {{ converted('l.line_amount', 'r.usd', 'r.gbp') }} as total_amount_usd
from {{ ref('sales') }} as l
left join product as p on l.stock_code = p.stock_code and l.sale_month = p.sale_month
left join customer as c on l.customer_id = c.customer_id and l.sale_month = c.sale_month
left join spelling as s on lower(btrim(l.country)) = s.spelling
left join {{ source('raw', 'rates') }} as r on l.sale_date = r.rate_date

with judged as (
    (select distinct on (stock_code) stock_code, first_description as description, first_date as valid_from,
        case when line_type = 'product' then first_price end as price, true as is_first
    from {{ ref('product_months') }} order by stock_code, sale_month)
    union all
    select stock_code, description, (sale_month + interval '1 month')::date, median_price, false
    from {{ ref('product_months') }}
    where line_type = 'product' and sale_month < (select max(sale_month) from {{ ref('sales') }})
), runs as (
    select *, count(description) over w as d, count(price) over w as p
    from judged window w as (partition by stock_code order by valid_from)
), carried as (
    select stock_code, valid_from, is_first, max(description) over (partition by stock_code, d) as description,
        max(price) over (partition by stock_code, p) as price
    from runs
), compared as (
    select *, lag(description) over w as description_before, lag(price) over w as price_before
    from carried window w as (partition by stock_code order by valid_from)
), marked as (
    select *, is_first or (price is not null and (price_before is null or abs(price - price_before) * 10 > price_before)) as is_repriced
    from compared
), published as (
    select *, count(case when is_repriced then price end) over (partition by stock_code order by valid_from) as r from marked
), versions as (
    select *, max(case when is_repriced then price end) over (partition by stock_code, r) as recommended_price from published
), started as (
    select * from versions where is_repriced or (description is not null and description is distinct from description_before)
)
select {{ key(['stock_code', 'valid_from::text']) }} as product_key, stock_code, description,
    recommended_price::numeric(18, 4) as recommended_price, valid_from, lead(valid_from) over w as valid_to,
    lead(valid_from) over w is null as is_current, (row_number() over w)::integer as version
from started window w as (partition by stock_code order by valid_from)

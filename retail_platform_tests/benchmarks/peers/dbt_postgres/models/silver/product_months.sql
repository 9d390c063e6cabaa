with months as (
    select sale_month, stock_code, min(line_type) as line_type, min(sale_date) as first_date
    from {{ ref('sales') }} group by 1, 2
), lines as (
    select s.*, s.sale_date = m.first_date as is_first from {{ ref('sales') }} as s join months as m using (sale_month, stock_code)
), counted as (
    select sale_month, stock_code, description, count(*) as n, count(*) filter (where is_first) as n_first
    from lines where description is not null group by 1, 2, 3
), described as (
    select distinct on (sale_month, stock_code) sale_month, stock_code, description
    from counted order by sale_month, stock_code, n desc, description collate "C"
), described_first as (
    select distinct on (sale_month, stock_code) sale_month, stock_code, description as first_description
    from counted where n_first > 0 order by sale_month, stock_code, n_first desc, description collate "C"
), priced as (
    select sale_month, stock_code, percentile_disc(0.5) within group (order by unit_price) as median_price,
        percentile_disc(0.5) within group (order by unit_price) filter (where is_first) as first_price
    from lines where not is_cancelled group by 1, 2
)
select * from months left join described using (sale_month, stock_code)
left join described_first using (sale_month, stock_code) left join priced using (sale_month, stock_code)

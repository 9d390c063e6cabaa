with span as (
    select date_trunc('year', min(sale_date)::timestamp) as first, date_trunc('year', max(sale_date)::timestamp) + interval '1 year - 1 day' as last
    from {{ ref('sales') }}
), days as (select generate_series(first, last, interval '1 day')::date as date from span)
select to_char(date, 'YYYYMMDD')::integer as date_key, date, extract(year from date)::smallint as year,
    extract(quarter from date)::smallint as quarter, extract(month from date)::smallint as month,
    to_char(date, 'FMMonth') as month_name, extract(week from date)::smallint as week,
    extract(day from date)::smallint as day_of_month, extract(isodow from date)::smallint as day_of_week,
    to_char(date, 'FMDay') as day_name, extract(isodow from date) > 5 as is_weekend,
    extract(year from date + interval '9 month')::smallint as fiscal_year,
    extract(quarter from date + interval '9 month')::smallint as fiscal_quarter
from days

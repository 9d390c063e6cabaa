-- The job by hand in DuckDB SQL. `-- step:` begins a step; duckdb_job.py fills in $files, $reference and writes tables.

-- step: bronze
create macro trimmed(t) as nullif(trim(replace(t, chr(0), ''), chr(32) || chr(9) || chr(13) || chr(10) || chr(160)), '');
create macro hashed(t) as sha256(t);
create macro part(t) as coalesce(strlen(t::varchar) || ':' || t::varchar, '-');
create macro key_of(t) as (('0x' || substr(sha256(t), 1, 16))::ubigint // 2)::bigint;

create table bronze as
with delivered as (
    select f.delivery_id, f.file_sha256, f.source_file, null::varchar as source_sheet,
        row_number() over (partition by f.rank order by r.file_row) as source_row, f.ingested_at, f.rank, f.latest,
        r."Invoice" as invoice_no, r."StockCode" as stock_code, r."Description" as description,
        r."Quantity" as quantity, r."InvoiceDate" as invoice_date, r."Price" as unit_price,
        r."Customer ID" as customer_id, r."Country" as country,
        try_strptime(trim(r."InvoiceDate"), '%Y-%m-%d %H:%M:%S') as invoiced_at
    from raw as r join file as f using (rank)
)
select delivery_id, file_sha256, source_file, source_sheet, source_row, ingested_at,
    date_trunc('month', day)::date as sale_month, day as sale_date, invoice_no, stock_code, description, quantity,
    invoice_date, unit_price, customer_id, country, invoiced_at, rank
from (
    select *, case when invoiced_at::date between date '2009-12-01' and latest then invoiced_at::date end as day
    from delivered
);
drop table raw;

-- step: silver
create table judged as
with cleaned as (
    select delivery_id, file_sha256, source_file, source_sheet, source_row, ingested_at, sale_month, sale_date, rank,
        invoiced_at, invoice_no as raw_invoice_no, stock_code as raw_stock_code, description as raw_description,
        quantity as raw_quantity, invoice_date as raw_invoice_date, unit_price as raw_unit_price,
        customer_id as raw_customer_id, country as raw_country,
        trimmed(invoice_no) as invoice_no, upper(trimmed(stock_code)) as stock_code,
        regexp_replace(trimmed(description), '[ \t\r\n]{2,}|[\t\r\n]', ' ', 'g') as description,
        case when regexp_matches(trimmed(customer_id), '^[0-9]+\.0+$') then split_part(trimmed(customer_id), '.', 1)
            else trimmed(customer_id) end as customer_id,
        trimmed(country) as country,
        case when regexp_matches(trimmed(quantity), '^[+-]?0*[0-9]{1,10}(\.0+)?$')
            then try_cast(split_part(trimmed(quantity), '.', 1)::bigint as integer) end as quantity,
        case when regexp_matches(trimmed(unit_price), '^[+-]?0*([0-9]{1,13}(\.[0-9]*)?|\.[0-9]+)$')
            then round(trimmed(unit_price)::decimal(38, 16), 4)::decimal(18, 4) end as unit_price
    from bronze
), typed as (
    select *, coalesce(starts_with(invoice_no, 'C'), false) as is_cancelled,
        quantity::decimal(10, 0) * unit_price as amount,
        case
            when stock_code in ('POST', 'DOT', 'C2', 'C3', '23444') then 'postage'
            when stock_code in ('BANK CHARGES', 'AMAZONFEE', 'CRUK') then 'fee'
            when stock_code = 'D' then 'discount'
            when stock_code = '22016' or starts_with(stock_code, 'GIFT') then 'gift_voucher'
            when stock_code in ('M', 'ADJUST', 'ADJUST2') then 'manual'
            when stock_code = 'S' then 'sample'
            when starts_with(stock_code, 'TEST') then 'test'
            when stock_code = 'B' then 'other'
            when stock_code in ('SP1002', 'PADS') or starts_with(stock_code, 'DCGS')
                or regexp_matches(stock_code, '^[0-9]{5}') then 'product'
            else 'other'
        end as line_type
    from cleaned
), reasoned as (
    select * exclude (amount),
        case when abs(amount) < 100000000000000 then amount::decimal(18, 4) end as line_amount,
        case
            when invoice_no is null then 'missing_invoice'
            when stock_code is null then 'missing_stock_code'
            when quantity is null or quantity = 0 then 'invalid_quantity'
            when amount is null or abs(amount) >= 100000000000000 then 'invalid_price'
            when sale_date is null then 'invalid_date'
            when starts_with(invoice_no, 'A') or unit_price < 0 then 'adjustment'
            when unit_price = 0 then 'zero_price'
            when starts_with(stock_code, 'TEST') then 'test_line'
            when rank < max(rank) over (partition by invoice_no, sale_date) then 'superseded'
        end as reason
    from typed
), counted as (
    select *, count(*) over (partition by delivery_id, invoice_no, stock_code, quantity, unit_price) as alike from reasoned
)
select * exclude (reason, alike), case
    when reason is null and alike > 1 and row_number() over (
        partition by reason, alike > 1, delivery_id, invoice_no, stock_code, description, quantity, invoiced_at, unit_price,
            customer_id, country
        order by source_row
    ) > 1 then 'duplicate_line' else reason end as reason
from counted;

create table lines as
select delivery_id, file_sha256, source_file, source_sheet, source_row, ingested_at, sale_month, sale_date, invoiced_at,
    invoice_no, stock_code, description, quantity, unit_price, line_amount, customer_id, country, line_type,
    is_cancelled, 1::integer as repeat_no
from judged where reason is null;

create table rejects as
select delivery_id, file_sha256, source_file, source_sheet, source_row, ingested_at, sale_month, sale_date,
    raw_invoice_no as invoice_no, raw_stock_code as stock_code, raw_description as description,
    raw_quantity as quantity, raw_invoice_date as invoice_date, raw_unit_price as unit_price,
    raw_customer_id as customer_id, raw_country as country, reason, line_amount
from judged where reason is not null;

create table warnings as
select sale_date, count(*) filter (where description is null) as no_description,
    count(*) filter (where line_type = 'other') as unknown_code,
    count(*) filter (where is_cancelled and quantity > 0) as odd_cancellation,
    count(*) filter (where unit_price > 10000) as high_price, count(*) filter (where abs(quantity) > 10000) as high_quantity
from lines group by sale_date;

-- check: rows of silver and rejects are those of bronze
select (select count(*) from lines) + (select count(*) from rejects) = (select count(*) from bronze);
-- check: bronze keys
select count(distinct (delivery_id, source_row)) = count(*) from bronze;
-- check: silver keys
select count(distinct (delivery_id, source_row)) = count(*) from lines;
-- check: reject keys
select count(distinct (delivery_id, source_row)) = count(*) from rejects;
-- check: silver has what it must have
select count(*) = 0 from lines where sale_date is null or invoice_no is null or stock_code is null or not unit_price > 0
    or quantity = 0 or line_amount is null or line_type is null or invoiced_at is null;
-- check: numbers are readable
select coalesce(bool_and(wrong * 2 <= n), true) from (
    select count(*) filter (where quantity is null or unit_price is null) as wrong, count(*) as n
    from judged where sale_date is not null group by sale_date
);

-- step: month_summaries
create table first_of_product as
select * from lines qualify sale_date = min(sale_date) over (partition by sale_month, stock_code);
create macro descriptions(t) as table
    select sale_month, stock_code, first(description order by n desc, description) as description
    from (select sale_month, stock_code, description, count(*) as n from query_table(t) where description is not null group by all)
    group by all;
create macro medians(t) as table
    select sale_month, stock_code, quantile_disc(unit_price, 0.5) as price
    from query_table(t) where not is_cancelled group by all;
create table product_months as
select m.*, d.description, p.price as median_price, fd.description as first_description, fp.price as first_price
from (
    select sale_month, stock_code, min(line_type) as line_type, min(sale_date) as first_date from lines group by all
) as m
left join descriptions('lines') as d using (sale_month, stock_code)
left join medians('lines') as p using (sale_month, stock_code)
left join descriptions('first_of_product') as fd using (sale_month, stock_code)
left join medians('first_of_product') as fp using (sale_month, stock_code);

create table first_of_customer as
select * from lines where customer_id is not null
qualify sale_date = min(sale_date) over (partition by sale_month, customer_id);
create macro customer_sums(t) as table
    select sale_month, customer_id,
        count(distinct (invoice_no, sale_date)) filter (where not is_cancelled) as orders,
        max(sale_date) filter (where not is_cancelled) as last_order_date,
        coalesce(sum(line_amount) filter (where not is_cancelled), 0)::decimal(18, 4) as spent,
        sum(line_amount)::decimal(18, 4) as net_revenue,
        coalesce(sum(line_amount) filter (where line_type = 'product'), 0)::decimal(18, 4) as product_revenue,
        min(sale_date) as first_date,
        arg_max(country, (invoiced_at, invoice_no, country)) filter (where country is not null) as country
    from query_table(t) where customer_id is not null group by sale_month, customer_id;
create table customer_months as
select m.*, f.orders as first_orders, f.spent as first_spent, f.net_revenue as first_net_revenue, f.country as first_country
from customer_sums('lines') as m join customer_sums('first_of_customer') as f using (sale_month, customer_id);

-- step: calendar_and_countries
create table dim_date as
with span as (
    select make_date(year(min(sale_date))::integer, 1, 1) as first, make_date(year(max(sale_date))::integer, 12, 31) as last
    from lines
), days as (select unnest(generate_series(first, last, interval 1 day))::date as date from span)
select strftime(date, '%Y%m%d')::integer as date_key, date, year(date) as year, quarter(date) as quarter,
    month(date) as month, monthname(date) as month_name, week(date) as week, day(date) as day_of_month,
    isodow(date) as day_of_week, dayname(date) as day_name, isodow(date) > 5 as is_weekend,
    holiday_name is not null as is_holiday, holiday_name, year(date + interval 9 month) as fiscal_year,
    quarter(date + interval 9 month) as fiscal_quarter
from days left join holiday using (date);
create table dim_country as
select * from (values (-1, 'Unspecified'), (-2, 'European Community'), (-3, 'Channel Islands'), (-4, 'West Indies'))
    as unknown (country_key, country_name)
union all by name
select key_of(part(country_code)) as country_key, * from read_csv('$reference/countries.csv', nullstr = '');

-- step: dim_product
create table dim_product as
with judged as (
    select stock_code, first_description as description, first_date as valid_from,
        case when line_type = 'product' then first_price end as price, true as is_first
    from product_months qualify sale_month = min(sale_month) over (partition by stock_code)
    union all
    select stock_code, description, (sale_month + interval 1 month)::date, median_price, false
    from product_months
    where line_type = 'product' and sale_month < (select max(sale_month) from lines)
), carried as (
    select stock_code, valid_from, is_first, last_value(description ignore nulls) over w as description,
        last_value(price ignore nulls) over w as price
    from judged window w as (partition by stock_code order by valid_from)
), compared as (
    select *, lag(description) over w as description_before, lag(price) over w as price_before
    from carried window w as (partition by stock_code order by valid_from)
), marked as (
    select *, is_first or (
        price is not null and (price_before is null or abs(price - price_before) * 10 > price_before)
    ) as is_repriced
    from compared
), published as (
    select *, last_value(case when is_repriced then price end ignore nulls) over (
        partition by stock_code order by valid_from
    ) as recommended_price
    from marked
), versions as (
    select stock_code, description, recommended_price, valid_from from published
    where is_repriced or (description is not null and description is distinct from description_before)
)
select key_of(part(stock_code) || part(valid_from)) as product_key, stock_code, description, recommended_price, valid_from,
    lead(valid_from) over w as valid_to, lead(valid_from) over w is null as is_current,
    (row_number() over w)::integer as version
from versions window w as (partition by stock_code order by valid_from);
-- check: product_key is unique
select count(distinct product_key) = count(*) and count(valid_from) = count(*) from dim_product;

-- step: dim_customer
create table score as
with closes as (
    select unnest(generate_series(min(sale_month), max(sale_month) - interval 1 month, interval 1 month))::date as close
    from lines
), bought as (
    select c.close, m.customer_id, max(last_order_date) as recency, sum(orders) as frequency, sum(product_revenue) as monetary
    from customer_months as m
    join closes as c on m.sale_month between c.close - interval 11 month and c.close
    group by all having sum(orders) > 0
), scored as (
    select close, customer_id,
        1 + 5 * (rank() over (partition by close order by recency) - 1) // count(*) over (partition by close) as r,
        1 + 5 * (rank() over (partition by close order by frequency) - 1) // count(*) over (partition by close) as f,
        1 + 5 * (rank() over (partition by close order by monetary) - 1) // count(*) over (partition by close) as m
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
from scored;

create table dim_customer as
with member as (
    select customer_id, sale_month as first_close, first_date as registration_date, first_country, first_orders,
        first_spent, first_net_revenue
    from customer_months qualify sale_month = min(sale_month) over (partition by customer_id)
), closes as (
    select unnest(generate_series(min(sale_month), max(sale_month) - interval 1 month, interval 1 month))::date as close
    from lines
), grid as (
    select customer_id, close, coalesce(s.segment, 'Others') as segment, s.r, s.f, s.m, cm.country,
        sum(coalesce(cm.orders, 0)) over w as orders, sum(coalesce(cm.spent, 0)) over w as spent,
        sum(coalesce(cm.net_revenue, 0)) over w as net_revenue
    from member join closes on close >= first_close
    left join score as s using (customer_id, close)
    left join (select * rename (sale_month as close) from customer_months) as cm using (customer_id, close)
    window w as (partition by customer_id order by close)
), judged as (
    select customer_id, first_country as country, 'New Customers' as segment, registration_date as valid_from from member
    union all
    select customer_id, country, segment, (close + interval 1 month)::date from grid
), carried as (
    select customer_id, segment, valid_from,
        last_value(country ignore nulls) over (partition by customer_id order by valid_from) as country
    from judged
), versions as (
    select * from carried window w as (partition by customer_id order by valid_from)
    qualify segment is distinct from lag(segment) over w
        or (country is not null and country is distinct from lag(country) over w)
), dated as (
    select v.*, lead(valid_from) over w as valid_to, (row_number() over w)::integer as version
    from versions as v window w as (partition by customer_id order by valid_from)
), closed as (
    select *, case when c >= first_close and c + interval 1 month >= valid_from then c end as close
    from (
        select *, coalesce(valid_to - interval 2 month, (select max(close) from closes))::date as c
        from dated join member using (customer_id)
    )
), totals as (
    select *, coalesce(g.orders, first_orders)::bigint as total_orders,
        coalesce(g.spent, first_spent)::decimal(18, 4) as total_spent,
        coalesce(g.net_revenue, first_net_revenue)::decimal(18, 4) as lifetime_value,
        v.segment as rfm_segment, v.country as version_country, v.close as as_of
    from closed as v left join grid as g on v.customer_id = g.customer_id and v.close = g.close
)
select -1::bigint as customer_key, null::varchar as customer_id, 'Guest' as customer_segment, null::date as registration_date,
    null::decimal(18, 4) as lifetime_value, null::bigint as total_orders, null::decimal(18, 4) as total_spent,
    null::decimal(18, 4) as avg_order_value, null::smallint as recency_score, null::smallint as frequency_score,
    null::smallint as monetary_score, 'Others' as rfm_segment, null::varchar as country, date '1900-01-01' as valid_from,
    null::date as valid_to, true as is_current, 1::integer as version
union all
select key_of(part(customer_id) || part(valid_from)), customer_id,
    case when as_of is null then 'New' when m = 5 then 'High Value' when m in (3, 4) then 'Mid Value'
        when m in (1, 2) then 'Low Value' else 'Inactive' end,
    registration_date, lifetime_value, total_orders, total_spent,
    case when total_orders > 0 then (
        (2 * (total_spent * 10000)::hugeint + total_orders) // (2 * total_orders) * 0.0001
    )::decimal(18, 4) end,
    r::smallint, f::smallint, m::smallint, rfm_segment, version_country, valid_from, valid_to, valid_to is null, version
from totals;
-- check: customer_key is unique
select count(distinct customer_key) = count(*) from dim_customer;

-- step: dim_invoice
create table dim_invoice as
select sale_month, sale_date, key_of(part(invoice_no) || part(sale_date)) as invoice_key, invoice_no,
    min(invoiced_at) as invoice_date, bool_or(is_cancelled) as is_cancelled,
    sum(line_amount)::decimal(18, 4) as invoice_total
from lines group by all;
-- check: invoice_key is unique
select count(distinct invoice_key) = count(*) from dim_invoice;

-- step: fact_sale
create table fact_sale as
with spelling as (
    select spelling, case when regexp_matches(member, '^[A-Z]{2}$') then key_of(part(member)) else member::bigint end as country_key
    from read_csv('$reference/country_aliases.csv', all_varchar = true)
), rate as (
    select rate_date, "GBP"::decimal(18, 6) as gbp, "EUR"::decimal(18, 6) as eur, "USD"::decimal(18, 6) as usd
    from read_csv('$reference/rates.csv', types = {'GBP': 'decimal(18,6)', 'EUR': 'decimal(18,6)', 'USD': 'decimal(18,6)'})
), month as (select distinct sale_month from lines), product as (
    select m.sale_month, p.stock_code, p.product_key from dim_product as p join month as m
        on p.valid_from < m.sale_month + interval 1 month and coalesce(p.valid_to, date '9999-01-01') > m.sale_month
), customer as (
    select m.sale_month, c.customer_id, c.customer_key from dim_customer as c join month as m
        on c.valid_from < m.sale_month + interval 1 month and coalesce(c.valid_to, date '9999-01-01') > m.sale_month
    where c.customer_id is not null
), hashed as (
    select l.*, sha256(
        part(l.invoice_no) || part(l.stock_code) || part(l.description) || part(l.quantity) || part(l.invoiced_at)
        || part(l.unit_price) || part(l.customer_id) || part(l.country) || '-'
    ) as h
    from lines as l
)
select l.sale_month, l.sale_date,
    substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-8' || substr(h, 14, 3) || '-a' || substr(h, 18, 3) || '-' || substr(h, 21, 12)
        as sale_id,
    p.product_key, case when l.customer_id is null then -1 else c.customer_key end as customer_key,
    strftime(l.sale_date, '%Y%m%d')::integer as date_key, i.invoice_key, coalesce(s.country_key, -1) as country_key,
    l.quantity, l.unit_price, l.line_amount as total_amount, null::decimal(18, 4) as discount_amount,
    null::decimal(18, 4) as tax_amount, null::decimal(18, 4) as profit_amount, null::decimal(9, 4) as margin_percentage,
    l.line_type, l.is_cancelled, l.invoiced_at, l.ingested_at as created_at, l.delivery_id as batch_id,
    (sign(l.line_amount) * ((2 * abs((l.line_amount * 10000)::hugeint * (eur * 1000000)::hugeint) + (gbp * 1000000)::hugeint)
        // (2 * (gbp * 1000000)::hugeint)) * 0.0001)::decimal(18, 4) as total_amount_eur,
    (sign(l.line_amount) * ((2 * abs((l.line_amount * 10000)::hugeint * (usd * 1000000)::hugeint) + (gbp * 1000000)::hugeint)
        // (2 * (gbp * 1000000)::hugeint)) * 0.0001)::decimal(18, 4) as total_amount_usd
from hashed as l
join dim_invoice as i using (invoice_no, sale_date)
left join product as p on l.stock_code = p.stock_code and l.sale_month = p.sale_month
left join customer as c on l.customer_id = c.customer_id and l.sale_month = c.sale_month
left join spelling as s on lower(trim(l.country)) = s.spelling
left join rate as r on l.sale_date = r.rate_date
order by l.sale_date, sale_id;
-- check: sale_id is unique
select count(distinct sale_id) = count(*) from fact_sale;
-- check: facts have their keys
select count(*) = 0 from fact_sale where product_key is null or customer_key is null or invoice_key is null;
-- check: totals are equal
select (select sum(total_amount) from fact_sale) = (select sum(line_amount) from lines);

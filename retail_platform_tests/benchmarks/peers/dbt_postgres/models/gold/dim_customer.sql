with member as (
    select distinct on (customer_id) customer_id, sale_month as first_close, first_date as registration_date, first_country,
        first_orders, first_spent, first_net_revenue
    from {{ ref('customer_months') }} order by customer_id, sale_month
), closes as (
    select generate_series(min(sale_month), max(sale_month) - interval '1 month', interval '1 month')::date as close
    from {{ ref('sales') }}
), grid as (
    select m.customer_id, c.close, coalesce(s.segment, 'Others') as segment, s.r, s.f, s.m, cm.country,
        sum(coalesce(cm.orders, 0)) over w as orders, sum(coalesce(cm.spent, 0)) over w as spent,
        sum(coalesce(cm.net_revenue, 0)) over w as net_revenue
    from member as m join closes as c on c.close >= m.first_close
    left join {{ ref('customer_scores') }} as s on s.customer_id = m.customer_id and s.close = c.close
    left join {{ ref('customer_months') }} as cm on cm.customer_id = m.customer_id and cm.sale_month = c.close
    window w as (partition by m.customer_id order by c.close)
), judged as (
    select customer_id, first_country as country, 'New Customers' as segment, registration_date as valid_from from member
    union all
    select customer_id, country, segment, (close + interval '1 month')::date from grid
), runs as (
    select *, count(country) over (partition by customer_id order by valid_from) as n from judged
), carried as (
    select customer_id, segment, valid_from, max(country) over (partition by customer_id, n) as country from runs
), compared as (
    select *, lag(segment) over w as segment_before, lag(country) over w as country_before
    from carried window w as (partition by customer_id order by valid_from)
), versions as (
    select customer_id, segment, country, valid_from, lead(valid_from) over w as valid_to, (row_number() over w)::integer as version
    from compared
    where segment is distinct from segment_before or (country is not null and country is distinct from country_before)
    window w as (partition by customer_id order by valid_from)
), dated as (
    select v.*, m.registration_date, m.first_orders, m.first_spent, m.first_net_revenue,
        case when c.close >= m.first_close and c.close + interval '1 month' >= v.valid_from then c.close end as close
    from versions as v join member as m using (customer_id)
    cross join lateral (
        select coalesce(v.valid_to - interval '2 month', (select max(close) from closes))::date as close
    ) as c
), totals as (
    select d.customer_id, d.segment, d.country, d.valid_from, d.valid_to, d.version, d.registration_date, d.close, g.r, g.f, g.m,
        coalesce(g.orders, d.first_orders)::bigint as total_orders, coalesce(g.spent, d.first_spent)::numeric(18, 4) as total_spent,
        coalesce(g.net_revenue, d.first_net_revenue)::numeric(18, 4) as lifetime_value
    from dated as d left join grid as g on d.customer_id = g.customer_id and d.close = g.close
)
select -1::bigint as customer_key, null::text as customer_id, 'Guest' as customer_segment, null::date as registration_date,
    null::numeric(18, 4) as lifetime_value, null::bigint as total_orders, null::numeric(18, 4) as total_spent,
    null::numeric(18, 4) as avg_order_value, null::smallint as recency_score, null::smallint as frequency_score,
    null::smallint as monetary_score, 'Others' as rfm_segment, null::text as country, date '1900-01-01' as valid_from,
    null::date as valid_to, true as is_current, 1 as version
union all
select {{ key(['customer_id', 'valid_from::text']) }}, customer_id,
    case when close is null then 'New' when m = 5 then 'High Value' when m in (3, 4) then 'Mid Value'
        when m in (1, 2) then 'Low Value' else 'Inactive' end,
    registration_date, lifetime_value, total_orders, total_spent,
    case when total_orders > 0 then floor((2 * total_spent * 10000 + total_orders) / (2 * total_orders)) / 10000 end::numeric(18, 4),
    r, f, m, segment, country, valid_from, valid_to, valid_to is null, version
from totals

with

customer_months as (
    select * from {{ ref('int_customers__summed_by_month') }}
),

customers as (
    select
        customer_id,
        as_of_date,
        {{ month_of('first_order_date') }} as cohort_month
    from {{ ref('customer_lifetime') }}
    where first_order_date is not null
),

cohorts as (
    select
        cohort_month,
        max(as_of_date) as as_of_date,
        count(*) as cohort_size
    from customers
    group by cohort_month
),

-- Every month up to the newest, so that a month in which nobody came back shows as 0 and not as a gap.
cohort_months as (
    select
        cohort_month,
        cohort_size,
        sale_month::date as sale_month,
        sale_month < {{ month_of('as_of_date') }} as is_closed
    from cohorts
    cross join lateral generate_series(cohort_month, as_of_date, interval '1 month') as sale_month
),

activity as (
    select
        customers.cohort_month,
        customer_months.sale_month,
        count(*) filter (where customer_months.order_count > 0) as active_customer_count,
        sum(customer_months.net_revenue) as net_revenue,
        {{ whole_sum('customer_months.net_revenue_eur') }} as net_revenue_eur,
        {{ whole_sum('customer_months.net_revenue_usd') }} as net_revenue_usd
    from customer_months
    inner join customers on customer_months.customer_id = customers.customer_id
    group by customers.cohort_month, customer_months.sale_month
),

retained as (
    select
        cohort_months.cohort_month,
        (
            12 * (extract(year from cohort_months.sale_month) - extract(year from cohort_months.cohort_month))
            + extract(month from cohort_months.sale_month) - extract(month from cohort_months.cohort_month)
        )::integer as month_number,
        cohort_months.sale_month,
        cohort_months.cohort_size,
        coalesce(activity.active_customer_count, 0) as active_customer_count,
        round(100.0 * coalesce(activity.active_customer_count, 0) / cohort_months.cohort_size, 4)::numeric(9, 4) as retention_pct,
        coalesce(activity.net_revenue, 0)::numeric(18, 4) as net_revenue,
        case when activity.sale_month is null then 0 else activity.net_revenue_eur end::numeric(18, 4) as net_revenue_eur,
        case when activity.sale_month is null then 0 else activity.net_revenue_usd end::numeric(18, 4) as net_revenue_usd,
        cohort_months.is_closed
    from cohort_months
    left join activity
        on
            cohort_months.cohort_month = activity.cohort_month
            and cohort_months.sale_month = activity.sale_month
),

accumulated as (
    select
        *,
        {{ percentage('net_revenue', 'greatest(first_value(net_revenue) over so_far, 0)') }} as revenue_retention_pct,
        {{ average('net_revenue', 'cohort_size') }} as avg_net_revenue,
        (sum(net_revenue) over so_far)::numeric(18, 4) as cumulative_net_revenue,
        {{ average('sum(net_revenue) over so_far', 'cohort_size') }} as avg_lifetime_value
    from retained
    window so_far as (partition by cohort_month order by month_number)
)

select
    cohort_month,
    month_number,
    sale_month,
    is_closed,
    cohort_size,
    active_customer_count,
    retention_pct,
    net_revenue,
    revenue_retention_pct,
    avg_net_revenue,
    cumulative_net_revenue,
    avg_lifetime_value,
    net_revenue_eur,
    net_revenue_usd
from accumulated

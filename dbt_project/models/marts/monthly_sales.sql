with

days as (
    select
        *,
        {{ month_of('sale_date') }} as sale_month
    from {{ ref('daily_sales') }}
),

customer_months as (
    select * from {{ ref('int_customers__summed_by_month') }}
),

calendar as (
    select * from {{ ref('stg_warehouse__dim_date') }}
),

customers as (
    select * from {{ ref('customer_lifetime') }}
),

summed as (
    select
        sale_month,
        count(*) as trading_day_count,
        {{ added_up_measures() }}
    from days
    group by sale_month
),

buyers as (
    select
        sale_month,
        count(*) as customer_count
    from customer_months
    where order_count > 0
    group by sale_month
),

first_orders as (
    select
        {{ month_of('first_order_date') }} as sale_month,
        count(*) as new_customer_count
    from customers
    where first_order_date is not null
    group by {{ month_of('first_order_date') }}
),

-- By date, not by the row before: a month without a sale has no row.
compared as (
    select
        summed.*,
        calendar.year,
        calendar.quarter,
        calendar.month,
        calendar.month_name,
        calendar.fiscal_year,
        calendar.fiscal_quarter,
        summed.sale_month < max(summed.sale_month) over () as is_closed,
        coalesce(buyers.customer_count, 0) as customer_count,
        coalesce(first_orders.new_customer_count, 0) as new_customer_count,
        {{ percent_change('summed.net_revenue', 'previous_month.net_revenue') }} as previous_month_change_pct,
        {{ percent_change('summed.net_revenue', 'previous_year.net_revenue') }} as previous_year_change_pct
    from summed
    inner join calendar on summed.sale_month = calendar.calendar_date
    left join buyers on summed.sale_month = buyers.sale_month
    left join first_orders on summed.sale_month = first_orders.sale_month
    left join summed as previous_month
        on previous_month.sale_month = summed.sale_month - interval '1 month'
    left join summed as previous_year
        on previous_year.sale_month = summed.sale_month - interval '1 year'
)

select * from compared

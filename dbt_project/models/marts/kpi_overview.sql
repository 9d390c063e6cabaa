with

days as (
    select * from {{ ref('daily_sales') }}
),

buyers as (
    select * from {{ ref('int_customers__ordered_by_day') }}
),

customers as (
    select * from {{ ref('customer_lifetime') }}
),

-- "Today" is the newest day in gold, never the clock's.
newest as (
    select
        min(sale_date) as first_date,
        max(sale_date) as today,
        {{ month_of('max(sale_date)') }} as month_start,
        date_trunc('year', max(sale_date)::timestamp)::date as year_start
    from days
    having count(*) > 0
),

-- Half-open spans. A year or month before ends on the same day of the calendar, or on the last one there is.
periods as (
    select
        period.*,
        newest.first_date
    from newest
    cross join lateral (
        values
        ('today', 1, newest.today, newest.today - 1, newest.today),
        ('last_7_days', 2, newest.today - 6, newest.today - 13, newest.today - 6),
        ('last_28_days', 3, newest.today - 27, newest.today - 55, newest.today - 27),
        (
            'month_to_date', 4, newest.month_start,
            (newest.month_start - interval '1 month')::date, (newest.today - interval '1 month')::date + 1
        ),
        (
            'year_to_date', 5, newest.year_start,
            (newest.year_start - interval '1 year')::date, (newest.today - interval '1 year')::date + 1
        )
    ) as period (period, period_position, from_date, previous_from_date, previous_to_date)
),

spans as (
    select period, 'current' as span, from_date, today + 1 as to_date from periods cross join newest
    union all
    select period, 'previous' as span, previous_from_date as from_date, previous_to_date as to_date from periods
),

sales as (
    select
        spans.period,
        spans.span,
        {{ added_up_measures() }}
    from spans
    left join days
        on
            days.sale_date >= spans.from_date
            and days.sale_date < spans.to_date
    group by spans.period, spans.span
),

orders as (
    select
        period,
        span,
        count(*) as customer_count
    from (
        select distinct
            spans.period,
            spans.span,
            buyers.customer_id
        from spans
        inner join buyers
            on
                buyers.sale_date >= spans.from_date
                and buyers.sale_date < spans.to_date
    ) as distinct_buyers
    group by period, span
),

first_orders as (
    select
        spans.period,
        spans.span,
        count(customers.customer_id) as new_customer_count
    from spans
    left join customers
        on
            customers.first_order_date >= spans.from_date
            and customers.first_order_date < spans.to_date
    group by spans.period, spans.span
),

metrics as (
    select
        sales.period,
        sales.span,
        metric.*
    from sales
    inner join first_orders
        on
            sales.period = first_orders.period
            and sales.span = first_orders.span
    left join orders
        on
            sales.period = orders.period
            and sales.span = orders.span
    cross join lateral (
        values
        ('net_revenue', 1, 'amount', sales.net_revenue),
        ('product_revenue', 2, 'amount', sales.product_revenue),
        ('cancelled_amount', 3, 'amount', sales.cancelled_amount),
        ('avg_order_value', 4, 'amount', sales.avg_order_value),
        ('order_count', 5, 'count', sales.order_count),
        ('customer_count', 6, 'count', coalesce(orders.customer_count, 0)),
        ('new_customer_count', 7, 'count', first_orders.new_customer_count),
        ('unit_count', 8, 'count', sales.unit_count),
        -- A span without a line lacks no rate.
        ('net_revenue_eur', 9, 'eur', case when sales.line_count = 0 then 0 else sales.net_revenue_eur end),
        ('net_revenue_usd', 10, 'usd', case when sales.line_count = 0 then 0 else sales.net_revenue_usd end)
    ) as metric (metric, metric_position, unit, value)
),

compared as (
    select
        periods.period,
        this_span.metric,
        periods.period_position,
        this_span.metric_position,
        this_span.unit,
        periods.from_date,
        newest.today + 1 as to_date,
        periods.previous_from_date,
        periods.previous_to_date,
        this_span.value::numeric(18, 4) as value,
        case when periods.previous_from_date >= periods.first_date then span_before.value end::numeric(18, 4) as previous_value
    from periods
    cross join newest
    inner join metrics as this_span
        on
            periods.period = this_span.period
            and this_span.span = 'current'
    inner join metrics as span_before
        on
            this_span.period = span_before.period
            and this_span.metric = span_before.metric
            and span_before.span = 'previous'
),

changed as (
    select
        *,
        {{ percent_change('value', 'previous_value') }} as change_pct
    from compared
)

select * from changed

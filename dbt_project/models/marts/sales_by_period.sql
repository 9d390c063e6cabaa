{%- set units = {'DAILY': 'day', 'WEEKLY': 'week', 'MONTHLY': 'month', 'QUARTERLY': 'quarter', 'YEARLY': 'year'} -%}

with

days as (
    select
        *,
        {%- for unit in units.values() %}
        {{ start_of(unit, 'sale_date') }} as {{ unit }}_start {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('daily_sales') }}
),

buyers as (
    select * from {{ ref('int_customers__ordered_by_day') }}
),

-- A customer of two days of a period counts once. Distinct first: that hashes, where count(distinct) would sort.
counted as (
    {%- for granularity, unit in units.items() %}
    select
        '{{ granularity }}' as granularity,
        period,
        count(*) as customer_count
    from (
        select distinct
            {{ start_of(unit, 'sale_date') }} as period,
            customer_id
        from buyers
    ) as {{ unit }}_buyers
    group by period
    {{- '
    union all' if not loop.last }}
    {%- endfor %}
),

summed as (
    select
        case
            {%- for granularity, unit in units.items() %}
            when grouping({{ unit }}_start) = 0 then '{{ granularity }}'
            {%- endfor %}
        end as granularity,
        coalesce(
            {%- for unit in units.values() %}{{ unit }}_start {{- ', ' if not loop.last }}{% endfor -%}
        ) as period,
        {{ added_up_measures() }}
    from days
    group by grouping sets (
        {%- for unit in units.values() %}({{ unit }}_start) {{- ', ' if not loop.last }}{% endfor -%}
    )
),

placed as (
    select
        summed.*,
        coalesce(counted.customer_count, 0) as customer_count,
        case summed.granularity
            {%- for granularity, unit in units.items() %}
            when '{{ granularity }}' then {{ start_of_next(unit, 'summed.period') }}
            {%- endfor %}
        end as period_to,
        summed.period < max(summed.period) over (partition by summed.granularity) as is_closed
    from summed
    left join counted
        on
            summed.granularity = counted.granularity
            and summed.period = counted.period
)

select * from placed

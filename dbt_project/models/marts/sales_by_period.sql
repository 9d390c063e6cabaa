{%- set units = {'DAILY': 'day', 'WEEKLY': 'week', 'MONTHLY': 'month', 'QUARTERLY': 'quarter', 'YEARLY': 'year'} -%}

with

invoices as (
    select
        *,
        {%- for unit in units.values() %}
        {{ start_of(unit, 'sale_date') }} as {{ unit }}_start {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_invoices__pivoted_by_line_type') }}
),

-- One pass for all granularities: 0.2 s for two years, against 0.9 s for a copy of every invoice per granularity.
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
        {{ sales_measures() }}
    from invoices
    group by grouping sets (
        {%- for unit in units.values() %}({{ unit }}_start) {{- ', ' if not loop.last }}{% endfor -%}
    )
),

placed as (
    select
        *,
        case granularity
            {%- for granularity, unit in units.items() %}
            when '{{ granularity }}' then {{ start_of_next(unit, 'period') }}
            {%- endfor %}
        end as period_to,
        period < max(period) over (partition by granularity) as is_closed
    from summed
)

select * from placed

{# The measures of sales, one definition for every grain: aggregates over int_invoices__pivoted_by_line_type. #}
{% macro sales_measures() %}
    coalesce(sum(net_revenue), 0)::numeric(18, 4) as net_revenue,
    {%- for line_type in var('line_types') %}
    coalesce(sum({{ line_type }}_revenue), 0)::numeric(18, 4) as {{ line_type }}_revenue,
    {%- endfor %}
    coalesce(sum(net_revenue) filter (where not is_cancelled), 0)::numeric(18, 4) as gross_revenue,
    coalesce(sum(net_revenue) filter (where is_cancelled), 0)::numeric(18, 4) as cancelled_amount,
    count(distinct invoice_key) filter (where not is_cancelled) as order_count,
    count(distinct invoice_key) filter (where not is_cancelled and customer_id is null) as guest_order_count,
    count(distinct invoice_key) filter (where is_cancelled) as cancelled_order_count,
    count(distinct customer_id) filter (where not is_cancelled) as customer_count,
    coalesce(sum(line_count), 0)::bigint as line_count,
    coalesce(sum(unit_count), 0)::bigint as unit_count,
    {{ average('sum(net_revenue) filter (where not is_cancelled)', 'count(distinct invoice_key) filter (where not is_cancelled)') }} as avg_order_value,
    {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
    {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
{%- endmacro %}

{#
    The same measures of longer periods: aggregates over daily_sales. An invoice has one day, so all but customer_count add
    up; that is counted from int_customers__ordered_by_day.
#}
{% macro added_up_measures() %}
    coalesce(sum(net_revenue), 0)::numeric(18, 4) as net_revenue,
    {%- for line_type in var('line_types') %}
    coalesce(sum({{ line_type }}_revenue), 0)::numeric(18, 4) as {{ line_type }}_revenue,
    {%- endfor %}
    coalesce(sum(gross_revenue), 0)::numeric(18, 4) as gross_revenue,
    coalesce(sum(cancelled_amount), 0)::numeric(18, 4) as cancelled_amount,
    coalesce(sum(order_count), 0)::bigint as order_count,
    coalesce(sum(guest_order_count), 0)::bigint as guest_order_count,
    coalesce(sum(cancelled_order_count), 0)::bigint as cancelled_order_count,
    coalesce(sum(line_count), 0)::bigint as line_count,
    coalesce(sum(unit_count), 0)::bigint as unit_count,
    {{ average('sum(gross_revenue)', 'sum(order_count)') }} as avg_order_value,
    {{ whole_sum('net_revenue_eur') }} as net_revenue_eur,
    {{ whole_sum('net_revenue_usd') }} as net_revenue_usd
{%- endmacro %}

{# Sum of an amount; null where a row lacks it, as a sum over the others would be taken for the whole. #}
{% macro whole_sum(amount) -%}
    case when count({{ amount }}) = count(*) then sum({{ amount }}) end::numeric(18, 4)
{%- endmacro %}

{# total / count as an amount; null where there is nothing to divide by. #}
{% macro average(total, count) -%}
    round(({{ total }}) / nullif({{ count }}, 0), 4)::numeric(18, 4)
{%- endmacro %}

{# part of whole in percent; null where the whole is 0. Wide, as a part of an almost empty whole has no bound. #}
{% macro percentage(part, whole) -%}
    round(100.0 * ({{ part }}) / nullif({{ whole }}, 0), 4)::numeric(18, 4)
{%- endmacro %}

{# Change in percent of the previous value's size, so that its sign says up or down; null where that is null or 0. #}
{% macro percent_change(current, previous) -%}
    {{ percentage('(' ~ current ~ ') - (' ~ previous ~ ')', 'abs(' ~ previous ~ ')') }}
{%- endmacro %}

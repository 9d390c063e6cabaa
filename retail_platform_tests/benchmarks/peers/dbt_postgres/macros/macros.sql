{% macro trimmed(column) %}nullif(btrim({{ column }}, E' \t\r\n\u00a0'), ''){% endmacro %}
{# 63 bits of MD5, as a key that joins fast; dbt's usual way is its text. #}
{% macro key(parts) %}(('x' || substr(md5(concat_ws('|', {{ parts | join(', ') }})), 1, 16))::bit(64)::bigint & 9223372036854775807){% endmacro %}
{% macro converted(amount, rate, shop) %}round({{ amount }} * {{ rate }} / {{ shop }}, 4)::numeric(18, 4){% endmacro %}
{% macro sales_measures() %}
    sum(net_revenue) as net_revenue,
    {%- for line_type in ['product', 'postage', 'fee', 'discount', 'gift_voucher', 'manual', 'sample', 'other'] %}
    sum({{ line_type }}_revenue) as {{ line_type }}_revenue,
    {%- endfor %}
    coalesce(sum(net_revenue) filter (where not is_cancelled), 0) as gross_revenue,
    coalesce(sum(net_revenue) filter (where is_cancelled), 0) as cancelled_amount,
    count(distinct invoice_key) filter (where not is_cancelled) as order_count,
    count(distinct invoice_key) filter (where is_cancelled) as cancelled_order_count,
    count(distinct customer_id) filter (where not is_cancelled) as customer_count,
    sum(line_count) as line_count,
    sum(unit_count) as unit_count,
    sum(net_revenue_eur) as net_revenue_eur,
    sum(net_revenue_usd) as net_revenue_usd
{% endmacro %}

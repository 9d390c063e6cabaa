{{ config(meta={'dagster': {'ref': {'name': 'daily_sales'}}}) }}

-- Line types, and gross and cancelled amounts, each make up net_revenue exactly.
{% for model in ['daily_sales', 'monthly_sales', 'sales_by_period', 'country_sales'] %}
select
    '{{ model }}' as model,
    net_revenue,
    {% for line_type in var('line_types') %}{{ line_type }}_revenue{{ ' + ' if not loop.last }}{% endfor %} as line_types,
    gross_revenue + cancelled_amount as gross_and_cancelled
from {{ ref(model) }}
where
    net_revenue != {% for line_type in var('line_types') %}{{ line_type }}_revenue{{ ' + ' if not loop.last }}{% endfor %}
    or net_revenue != gross_revenue + cancelled_amount
{{ 'union all' if not loop.last }}
{% endfor %}

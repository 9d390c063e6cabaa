{# The first day of a date's month. Through timestamp, as date_trunc of a date goes by the session's time zone. #}
{% macro month_of(date) -%}
    date_trunc('month', {{ date }}::timestamp)::date
{%- endmacro %}

{# The first day of the day, ISO week, month, quarter or year of a date. Through timestamp, as date_trunc of a date goes by the session's time zone. #}
{% macro start_of(unit, date) -%}
    date_trunc('{{ unit }}', {{ date }}::timestamp)::date
{%- endmacro %}

{# The first day of a date's month. #}
{% macro month_of(date) -%}
    {{ start_of('month', date) }}
{%- endmacro %}

{# The first day after the period that starts on a date. #}
{% macro start_of_next(unit, date) -%}
    ({{ date }} + interval '{{ '3 months' if unit == 'quarter' else '1 ' ~ unit }}')::date
{%- endmacro %}

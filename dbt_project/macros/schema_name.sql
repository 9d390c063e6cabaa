{# A model's schema is exactly the one it names: no prefix of the target, the platform has one database to itself. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}

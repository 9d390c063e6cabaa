{#
    Incremental by day range: a run replaces the days [from_date, to_date) of a day-keyed table, days that lost their
    facts included, which dbt's own delete+insert would leave behind. Without a range it replaces every day.
    A table keyed by sale_month (its first day) is replaced by the whole months that the days touch; one keyed by
    first_sale_month, the month in which something first happened, by those months and all after them.

    The range is given as --vars, or as RETAIL_DBT_FROM_DATE and RETAIL_DBT_TO_DATE: --vars that differ from the run
    before make dbt parse the whole project again (1 second), the environment does not.
#}

{% macro day_range(grain) %}
    {%- set from_date = var('from_date') or env_var('RETAIL_DBT_FROM_DATE', '') -%}
    {%- set to_date = var('to_date') or env_var('RETAIL_DBT_TO_DATE', '') -%}
    {%- if (not from_date) != (not to_date) -%}
        {{ exceptions.raise_compiler_error(
            "Found from_date='" ~ from_date ~ "' and to_date='" ~ to_date ~ "', expected both (yyyy-mm-dd, to_date excluded) or neither."
        ) }}
    {%- endif -%}
    {%- if not from_date -%}{{ return(none) }}{%- endif -%}
    {%- set first = modules.datetime.date.fromisoformat(from_date | string) -%}
    {%- set end = modules.datetime.date.fromisoformat(to_date | string) -%}
    {%- if first >= end -%}
        {{ exceptions.raise_compiler_error("Found from_date=" ~ first ~ " and to_date=" ~ end ~ ", expected from_date before to_date.") }}
    {%- endif -%}
    {%- if grain != 'day' -%}
        {%- set first = first.replace(day=1) -%}
        {%- set last_month = (end - modules.datetime.timedelta(days=1)).replace(day=1) -%}
        {%- set end = (last_month + modules.datetime.timedelta(days=31)).replace(day=1) -%}
    {%- endif -%}
    {{ return((first, end)) }}
{% endmacro %}

{#
    The condition that `column` is in the run's range: its days, widened to whole months where `grain` is month, and from
    its first month on where it is month_onward.
#}
{% macro is_in_day_range(column, grain='day') %}
    {{- is_in_run(column, grain) if is_incremental() else 'true' -}}
{% endmacro %}

{# The same outside a model, as in a test: whether the table is there already does not matter. #}
{% macro is_in_run(column, grain='day') %}
    {%- set range = day_range(grain) -%}
    {%- if range is none -%} true
    {%- elif grain == 'month_onward' -%} {{ column }} >= date '{{ range[0] }}'
    {%- else -%} {{ column }} >= date '{{ range[0] }}' and {{ column }} < date '{{ range[1] }}'
    {%- endif -%}
{% endmacro %}

{# dbt's hook for `incremental_strategy: day_range`; the model's unique_key is the day or month column it is replaced by. #}
{% macro get_incremental_day_range_sql(arg_dict) %}
    {%- set column = arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ is_in_day_range(column, {'sale_month': 'month', 'first_sale_month': 'month_onward'}.get(column, 'day')) }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

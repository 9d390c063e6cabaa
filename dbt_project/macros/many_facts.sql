{#
    The hooks of a model that may read all facts: memory for sorting and hashing them (a hash table takes up to twice as
    much, in each of up to four models at once), and what else its plan needs.
#}
{% macro many_facts(setting=none) -%}
    {{ return(["set local work_mem = '128MB'"] + ([setting] if setting else [])) }}
{%- endmacro %}

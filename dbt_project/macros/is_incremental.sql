{# As dbt's own, except that a full refresh asks nothing of the warehouse: so it compiles without one. #}
{% macro is_incremental() -%}
    {%- if not execute or should_full_refresh() -%} {{ return(false) }} {%- endif -%}
    {%- if as_increment() -%}
        {{ return(model.config.materialized == "incremental") }}
    {%- endif -%}
    {{ return(dbt.is_incremental()) }}
{%- endmacro %}

{# For linters, which have no warehouse: whether to compile what a daily build runs, as if all models were there. #}
{% macro as_increment() -%} {{ return(var("as_increment", false)) }} {%- endmacro %}

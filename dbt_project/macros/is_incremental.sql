{# As dbt's own, except that a full refresh asks nothing of the warehouse: so it compiles without one. #}
{% macro is_incremental() -%}
    {%- if not execute or should_full_refresh() -%} {{ return(false) }} {%- endif -%}
    {{ return(dbt.is_incremental()) }}
{%- endmacro %}

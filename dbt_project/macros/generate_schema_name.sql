{# A target whose name starts with "dev" belongs to a developer: its schemas carry the target's schema as a prefix. #}
{% macro is_developer() %} {{ return(target.name.startswith("dev")) }} {% endmacro %}

{# The schemas are exactly staging, intermediate and marts, so that queries and grants can name them. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set schema = (custom_schema_name or target.schema) | trim -%}
    {%- if custom_schema_name and is_developer() -%} {{ target.schema }}_{{ schema }}
    {%- else -%} {{ schema }}
    {%- endif -%}
{%- endmacro %}

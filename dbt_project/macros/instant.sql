{# ISO text as a UTC timestamp: with an offset it is converted, without a zone it is UTC, a date is its midnight. #}
{% macro instant(text) -%}
    {{ return(adapter.dispatch("instant")(text)) }}
{%- endmacro %}

{# By way of timestamptz: DuckDB's cast of text to timestamp drops the offset. The profile sets the zone to UTC. #}
{% macro duckdb__instant(text) -%}
    timezone('UTC', cast({{ text }} as timestamptz))
{%- endmacro %}

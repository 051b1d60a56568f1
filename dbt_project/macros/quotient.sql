{#
    The whole part of `a / b` for whole numbers, `a` not negative and `b` positive, exactly: no engine's binary or
    shortened division. NULL where an operand is.
#}
{% macro quotient(a, b) -%}
    {{ return(adapter.dispatch("quotient")(a, b)) }}
{%- endmacro %}

{# DuckDB divides decimals as doubles, but integers (here of 128 bits) exactly. #}
{% macro duckdb__quotient(a, b) -%}
    cast(divide(cast({{ a }} as hugeint), cast({{ b }} as hugeint)) as decimal(38, 0))
{%- endmacro %}

{# Snowflake's quotient has few decimals and is rounded: of a dividend without its remainder it is exact. #}
{% macro snowflake__quotient(a, b) -%}
    cast((({{ a }}) - mod({{ a }}, {{ b }})) / ({{ b }}) as number(38, 0))
{%- endmacro %}

{#
    `amount * part / whole` in money, rounded down to the cent, exactly: no engine's binary or shortened division.
    With part = whole it is `amount`, so running shares add up to the cent; `whole` must not be 0.
#}
{% macro money_share(amount, part, whole) -%}
    {{ return(adapter.dispatch("money_share")(amount, part, whole)) }}
{%- endmacro %}

{# DuckDB divides decimals as doubles, but integers (here of 128 bits) exactly. #}
{% macro duckdb__money_share(amount, part, whole) -%}
    {%- set cents = [] -%}
    {%- for money in (amount, part, whole) -%}
        {%- do cents.append("cast(" ~ money ~ " * 100 as hugeint)") -%}
    {%- endfor -%}
    cast(
        cast(divide({{ cents[0] }} * {{ cents[1] }}, {{ cents[2] }}) as decimal(14, 0))
        * 0.01 as decimal(12, 2)
    )
{%- endmacro %}

{# Snowflake's quotient has few decimals and is rounded: of a dividend without its remainder it is exact. #}
{% macro snowflake__money_share(amount, part, whole) -%}
    {%- set cents = [] -%}
    {%- for money in (amount, part, whole) -%}
        {%- do cents.append("cast(" ~ money ~ " * 100 as number(38, 0))") -%}
    {%- endfor -%}
    {%- set product = cents[0] ~ " * " ~ cents[1] -%}
    cast(
        cast(
            ({{ product }} - mod({{ product }}, {{ cents[2] }}))
            / {{ cents[2] }} as number(14, 0)
        )
        * 0.01 as number(12, 2)
    )
{%- endmacro %}

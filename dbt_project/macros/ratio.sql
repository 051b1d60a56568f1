{#
    `part / whole` of whole numbers or of decimals with at most four places, rounded to `digits`, half a unit away from
    0, exactly; NULL where `whole` is 0. An engine's own division is binary (DuckDB) or cut to a few places
    (Snowflake): 297.53 / 2 came to 148.76.
#}
{% macro ratio(part, whole, digits=4) -%}
    {{ return(adapter.dispatch("ratio")(part, whole, digits)) }}
{%- endmacro %}

{# In integers of 128 bits, whose division drops the remainder: a third of the time of decimals. #}
{% macro duckdb__ratio(part, whole, digits) -%}
    {%- set dividend = "cast(" ~ part ~ " * 10000 as hugeint)" -%}
    {%- set divisor = "cast(nullif(" ~ whole ~ ", 0) * 10000 as hugeint)" -%}
    {%- set half = (
        "case when ("
        ~ part
        ~ " < 0) = ("
        ~ whole
        ~ " < 0) then "
        ~ divisor
        ~ " else -"
        ~ divisor
        ~ " end"
    ) -%}
    cast(
        cast(
            divide(
                {{ 2 * 10**digits }} * {{ dividend }} + {{ half }}, 2 * {{ divisor }}
            ) as bigint
        )
        * {{ "0." ~ "0" * (digits - 1) ~ "1" }} as decimal(18, {{ digits }})
    )
{%- endmacro %}

{% macro snowflake__ratio(part, whole, digits) -%}
    {%- set dividend = "cast(" ~ part ~ " * 10000 as decimal(24, 0))" -%}
    {%- set divisor = "cast(nullif(" ~ whole ~ ", 0) * 10000 as decimal(24, 0))" -%}
    {%- set doubled = (
        2 * 10**digits ~ " * abs(" ~ dividend ~ ") + abs(" ~ divisor ~ ")"
    ) -%}
    cast(
        cast(
            {{ quotient(doubled, "2 * abs(" ~ divisor ~ ")") }}
            * sign({{ dividend }})
            * sign({{ divisor }}) as decimal(18, 0)
        )
        * {{ "0." ~ "0" * (digits - 1) ~ "1" }} as decimal(18, {{ digits }})
    )
{%- endmacro %}

{# From 1 for the lowest fifth of the rows by `value` to 5 for the highest; equal values are in the lower fifth. #}
{% macro fifth(value) -%}
    {%- set before = "5 * (rank() over (order by " ~ value ~ ") - 1)" -%}
    cast(1 + {{ quotient(before, "count(*) over ()") }} as bigint)
{%- endmacro %}

{# Units a calendar day over the last 30 days, or since the launch, if that is known, if it is less long ago. #}
{% macro velocity(units, days_on_sale) -%}
    {{ ratio(units, "greatest(least(coalesce(" ~ days_on_sale ~ ", 30), 30), 1)") }}
{%- endmacro %}

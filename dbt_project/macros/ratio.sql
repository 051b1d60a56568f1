{# `part / whole` rounded to `digits`, NULL where `whole` is 0: of two counts, or of money and a count. #}
{% macro ratio(part, whole, digits=4) -%}
    cast(
        round(1.0 * {{ part }} / nullif({{ whole }}, 0), {{ digits }}) as decimal(
            18, {{ digits }}
        )
    )
{%- endmacro %}

{# From 1 for the lowest fifth of the rows by `value` to 5 for the highest; equal values are in the lower fifth. #}
{% macro fifth(value) -%}
    cast(
        1 + floor(
            5 * (rank() over (order by {{ value }}) - 1) / count(*) over ()
        ) as bigint
    )
{%- endmacro %}

{# Units a calendar day over the last 30 days, or since the launch if that is less long ago. #}
{% macro velocity(units, days_on_sale) -%}
    {{ ratio(units, "greatest(least(" ~ days_on_sale ~ ", 30), 1)") }}
{%- endmacro %}

{#
    `amount * part / whole` in money, rounded down to the cent, exactly. With part = whole it is `amount`, so running
    shares add up to the cent; `whole` must not be 0.
#}
{% macro money_share(amount, part, whole) -%}
    {%- set dividend = cents(amount) ~ " * " ~ cents(part) -%}
    cast(
        cast({{ quotient(dividend, cents(whole)) }} as decimal(14, 0))
        * 0.01 as decimal(12, 2)
    )
{%- endmacro %}

{% macro cents(money) -%} cast({{ money }} * 100 as decimal(19, 0)) {%- endmacro %}

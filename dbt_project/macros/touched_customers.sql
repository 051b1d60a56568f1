{# What an increment must rebuild of what is made of a customer's orders; see touched.sql. #}
{% macro touched_customers() -%}
    {{ touched("orders", "order_id", known_or_unknown("customer_id")) }}
    union
    select placed.customer_id
    from {{ ref("orders") }} as placed
    where placed.order_id in ({{ touched_orders() }})
{%- endmacro %}

{# All orders of the touched customers, which are numbered anew; those of nobody known are not numbered. #}
{% macro touched_customers_orders() -%}
    {{ touched_orders() }}
    union
    select ordered.order_id
    from {{ ref("orders") }} as ordered
    where
        ordered.customer_id in ({{ touched_customers() }})
        and ordered.customer_id <> {{ unknown() }}
{%- endmacro %}

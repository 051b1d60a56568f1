{#
    The instant at which an order was placed: as told, else when its record was created, but never after the record's
    last change. So no order lies ahead of what is known, whatever its `order_date` says.
#}
{% macro ordered_at(order_date, created_at) -%}
    {%- set known = (
        "coalesce(_cursor, cast(_batch as " ~ dbt.type_timestamp() ~ "))"
    ) -%}
    least(coalesce({{ order_date }}, {{ created_at }}, {{ known }}), {{ known }})
{%- endmacro %}

{#
    Revisions before `as_of` with an order that the last build left out, since it was placed after the `as_of` of that:
    a feed that is exported past midnight has such orders. A cursor is at most a day after the end of its batch.
#}
{% macro waited_orders() -%}
    {%- set last_as_of -%}
        (select max(as_of) from {{ source("raw", "_built") }})
    {%- endset -%}
    select waiting._batch, waiting._revision
    from
        (
            select
                _batch,
                _revision,
                {{ ordered_at(instant("order_date"), instant("created_at")) }}
                as ordered_at
            from {{ source("raw", "orders") }}
            where
                _batch < {{ as_of() }}
                and _batch >= {{ dbt.dateadd("day", -2, last_as_of) }}
        ) as waiting
    where waiting.ordered_at >= {{ last_as_of }}
{%- endmacro %}

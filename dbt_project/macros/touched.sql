{#
    What an increment must rebuild, of models whose rows are built from several records.

    `touched` selects the values that any version of the records brought by this build ever had, so that what a record
    left is rebuilt as well as what it came to. In a full build that is everything.
#}
{% macro touched(table, key, value) -%}
    select {{ value }}
    from {{ source("raw", table) }}
    where
        _batch < {{ as_of() }}
        and {{ key }} in (
            select brought.{{ key }}
            from {{ source("raw", table) }} as brought
            where {{ unbuilt(table, of="brought") }}
        )
{%- endmacro %}

{# Products of which this build brings the first version or another unit_cost: usually a launch or two. #}
{% macro recosted_products() -%}
    select product_id
    from
        (
            select product_id, unit_cost, 1 as is_brought
            from {{ source("raw", "products") }}
            where {{ unbuilt("products") }}
            union all
            select product_id, unit_cost, 0 as is_brought
            from {{ source("raw", "products") }}
            where
                _batch < {{ as_of() }}
                and product_id in (
                    select brought.product_id
                    from {{ source("raw", "products") }} as brought
                    where {{ unbuilt("products", of="brought") }}
                )
        ) as offers
    group by product_id
    having
        min(coalesce(unit_cost, 0)) <> max(coalesce(unit_cost, 0))
        or count(*) = 2 * sum(is_brought)
{%- endmacro %}

{# Orders whose lines may differ: they changed, an item came or left, or an item's cost became known. #}
{% macro touched_orders() -%}
    {{ touched("orders", "order_id", "order_id") }}
    union
    {{ touched("order_items", "order_item_id", "order_id") }}
    union
    select order_id
    from {{ ref("stg_order_items") }}
    where product_id in ({{ recosted_products() }})
{%- endmacro %}

{# Addresses of orders that changed, those that they had before included. #}
{% macro touched_addresses() -%}
    {{ touched("orders", "order_id", "shipping_address") }}
    union
    {{ touched("orders", "order_id", "billing_address") }}
{%- endmacro %}

{% macro touched_order_days() -%}
    {%- set instants = ordered_at(instant("order_date"), instant("created_at")) -%}
    {{ touched("orders", "order_id", "cast(" ~ instants ~ " as date)") }}
    union
    select placed.order_date
    from {{ ref("orders") }} as placed
    where placed.order_id in ({{ touched_orders() }})
{%- endmacro %}

{# Of fct_sales_by_date: the days that the calendar has and the table lacks, or the other way round, as well. #}
{% macro touched_calendar_days() -%}
    {{ touched_order_days() }}
    union
    select coalesce(listed.date_day, held.order_date)
    from {{ ref("dim_dates") }} as listed
    full outer join {{ this }} as held on listed.date_day = held.order_date
    where listed.date_day is null or held.order_date is null
{%- endmacro %}

{# Reviews that are new or changed, or whose order is. #}
{% macro touched_reviews() -%}
    {{ touched("reviews", "review_id", "review_id") }}
    union
    select review_id
    from {{ ref("stg_reviews") }}
    where order_id in ({{ touched("orders", "order_id", "order_id") }})
{%- endmacro %}

{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = touched_calendar_days() %}

with
    days as (
        select date_day
        from {{ ref("dim_dates") }}
        {% if is_incremental() %} where date_day in ({{ touched }}) {% endif %}
    ),

    orders as (
        select
            order_date,
            count(*) as orders,
            count(distinct customer_id) as customers,
            sum(case when is_cancelled then 1 else 0 end) as cancelled_orders,
            sum(case when is_returned then 1 else 0 end) as returned_orders
        from {{ ref("orders") }}
        where order_date in (select date_day from days)
        group by order_date
    ),

    items as (
        select order_date, {{ sales_measures() }}
        from {{ ref("fct_order_details") }}
        where order_date in (select date_day from days)
        group by order_date
    ),

    final as (
        select
            days.date_day as order_date,
            cast(coalesce(orders.orders, 0) as bigint) as orders,
            cast(coalesce(orders.cancelled_orders, 0) as bigint) as cancelled_orders,
            cast(coalesce(orders.returned_orders, 0) as bigint) as returned_orders,
            cast(coalesce(orders.customers, 0) as bigint) as customers,
            cast(coalesce(items.units, 0) as bigint) as units,
            {{ sales_or_zero("items") }},
            {{
                ratio(
                    "items.gross_revenue",
                    "(orders.orders - orders.cancelled_orders)",
                    2,
                )
            }} as average_order_value
        from days
        left join orders on days.date_day = orders.order_date
        left join items on days.date_day = items.order_date
    )

select *
from final

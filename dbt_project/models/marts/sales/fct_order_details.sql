{{ config(materialized="incremental", unique_key="order_item_id") }}

{%- set touched = touched_orders() %}

with
    orders as (select * from {{ ref("orders") }}),

    items as (
        select sold.*
        from {{ ref("order_items") }} as sold
        {% if is_incremental() %} where sold.order_id in ({{ touched }}) {% endif %}
    ),

    lines as (
        select
            items.*,
            orders.customer_id,
            orders.location_id,
            orders.order_date,
            orders.ordered_at,
            orders.order_status,
            orders.is_cancelled,
            orders.is_returned,
            orders.is_cancelled or orders.is_returned as is_undone,
            orders.shipping_cost,
            sum(items.total_price) over (
                partition by items.order_id
                order by items.order_item_id
                rows between unbounded preceding and current row
            ) as price_so_far,
            sum(items.total_price) over (partition by items.order_id) as order_price
        from items
        inner join orders on items.order_id = orders.order_id
    ),

    -- what the lines up to this one bear of the order's shipping, rounded down: the
    -- differences from line to line are whole cents and add up to what was charged
    shared as (
        select
            *,
            case
                when order_price = 0
                then shipping_cost
                else {{ money_share("shipping_cost", "price_so_far", "order_price") }}
            end as shipping_so_far
        from lines
    ),

    final as (
        select
            order_item_id,
            order_id,
            customer_id,
            product_id,
            location_id,
            order_date,
            ordered_at,
            order_status,
            is_cancelled,
            is_returned,
            quantity,
            unit_price,
            total_price,
            case when is_cancelled then 0.00 else total_price end as gross_revenue,
            case when is_undone then 0.00 else total_price end as net_revenue,
            cast(
                case
                    when is_cancelled
                    then 0.00
                    else
                        shipping_so_far - lag(shipping_so_far, 1, 0.00) over (
                            partition by order_id order by order_item_id
                        )
                end as decimal(12, 2)
            ) as shipping,
            case when is_undone then 0.00 else cost end as cost,
            cast(
                case when is_undone then 0.00 else total_price - cost end as decimal(
                    12, 2
                )
            ) as profit
        from shared
    )

select *
from final
order by ordered_at

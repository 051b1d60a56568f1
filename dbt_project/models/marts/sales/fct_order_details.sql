{{ config(materialized="incremental", unique_key="order_item_id") }}

with
    orders as (select * from {{ ref("int_orders") }}),

    items as (
        select *, coalesce(total_price, 0) as price from {{ ref("stg_order_items") }}
    ),

    new_items as (
        select order_item_id, order_id from items where {{ unbuilt("order_items") }}
    ),

    -- a changed item moves the shares of its whole order, and of the one it left
    restated as (
        select order_id
        from orders
        where {{ unbuilt("orders") }}
        union
        select order_id
        from new_items
        {% if is_incremental() %}
            union
            select existing.order_id
            from {{ this }} as existing
            inner join new_items on existing.order_item_id = new_items.order_item_id
        {% endif %}
    ),

    lines as (
        select
            items.*,
            orders.customer_id,
            orders.order_date,
            orders.ordered_at,
            orders.order_status,
            orders.is_cancelled,
            orders.is_returned,
            orders.shipping_cost,
            sum(items.price) over (
                partition by items.order_id
                order by items.order_item_id
                rows between unbounded preceding and current row
            ) as price_so_far,
            sum(items.price) over (partition by items.order_id) as order_price
        from items
        inner join orders on items.order_id = orders.order_id
        where items.order_id in (select order_id from restated)
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
            order_date,
            ordered_at,
            order_status,
            quantity,
            unit_price,
            total_price,
            case when is_cancelled then 0.00 else price end as gross_revenue,
            case
                when is_cancelled or is_returned then 0.00 else price
            end as net_revenue,
            cast(
                case
                    when is_cancelled
                    then 0.00
                    else
                        shipping_so_far - lag(shipping_so_far, 1, 0.00) over (
                            partition by order_id order by order_item_id
                        )
                end as decimal(12, 2)
            ) as shipping
        from shared
    )

select *
from final

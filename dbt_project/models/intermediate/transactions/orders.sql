{{ config(materialized="incremental", unique_key="order_id") }}

with
    statuses as (select * from {{ ref("order_statuses") }}),

    orders as (
        select
            *,
            {{ ordered_at("order_date", "created_at") }} as ordered_at,
            {{ address_part("shipping_address", -2) }} as city,
            {{ address_part("shipping_address", -1) }} as state
        from {{ ref("stg_orders") }}
        where {{ unbuilt("orders") }}
    ),

    final as (
        select
            orders.order_id,
            {{ known_or_unknown("orders.customer_id") }} as customer_id,
            cast(orders.ordered_at as date) as order_date,
            orders.ordered_at,
            orders.status as order_status,
            coalesce(statuses.is_cancelled, false) as is_cancelled,
            coalesce(statuses.is_returned, false) as is_returned,
            orders.payment_method,
            {{ dbt.hash("orders.shipping_address") }} as shipping_address_id,
            {{ dbt.hash("orders.billing_address") }} as billing_address_id,
            orders.city,
            orders.state,
            {{ location_id("orders.city", "orders.state") }} as location_id,
            coalesce(orders.total_amount, 0) as total_amount,
            coalesce(orders.shipping_cost, 0) as shipping_cost,
            orders._batch,
            orders._revision
        from orders
        left join statuses on orders.status = statuses.order_status
    )

select *
from final

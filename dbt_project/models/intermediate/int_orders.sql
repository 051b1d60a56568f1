with
    orders as (select * from {{ ref("stg_orders") }}),

    final as (
        select
            order_id,
            customer_id,
            cast(order_date as date) as order_date,
            order_date as ordered_at,
            status as order_status,
            coalesce(status = 'Cancelled', false) as is_cancelled,
            coalesce(status = 'Returned', false) as is_returned,
            coalesce(total_amount, 0) as total_amount,
            coalesce(shipping_cost, 0) as shipping_cost,
            _batch,
            _revision
        from orders
    )

select *
from final

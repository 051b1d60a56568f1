with
    days as (select * from {{ ref("int_days") }}),

    orders as (
        select
            order_date,
            count(*) as orders,
            count(distinct customer_id) as customers,
            sum(case when is_cancelled then 1 else 0 end) as cancelled_orders,
            sum(case when is_returned then 1 else 0 end) as returned_orders,
            sum(case when is_cancelled then 0 else shipping_cost end) as shipping
        from {{ ref("int_orders") }}
        group by order_date
    ),

    items as (
        select
            order_date,
            sum(case when order_status = 'Cancelled' then 0 else quantity end) as units,
            sum(gross_revenue) as gross_revenue,
            sum(net_revenue) as net_revenue
        from {{ ref("fct_order_details") }}
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
            cast(coalesce(items.gross_revenue, 0) as decimal(18, 2)) as gross_revenue,
            cast(coalesce(items.net_revenue, 0) as decimal(18, 2)) as net_revenue,
            cast(coalesce(orders.shipping, 0) as decimal(18, 2)) as shipping
        from days
        left join orders on days.date_day = orders.order_date
        left join items on days.date_day = items.order_date
    )

select *
from final

with
    customers as (select * from {{ ref("stg_customers") }}),

    orders as (
        select
            customer_id,
            min(order_date) as first_order_date,
            max(order_date) as last_order_date,
            count(*) as orders,
            sum(case when is_cancelled then 1 else 0 end) as cancelled_orders,
            sum(case when is_returned then 1 else 0 end) as returned_orders,
            sum(case when is_cancelled then 0 else shipping_cost end) as shipping
        from {{ ref("int_orders") }}
        group by customer_id
    ),

    items as (
        select
            customer_id,
            sum(gross_revenue) as gross_revenue,
            sum(net_revenue) as net_revenue
        from {{ ref("fct_order_details") }}
        group by customer_id
    ),

    final as (
        select
            customers.customer_id,
            customers.email,
            customers.first_name,
            customers.last_name,
            customers.age as age_at_signup,
            customers.gender,
            customers.annual_income,
            customers.marital_status,
            customers.education,
            customers.location_type,
            customers.city,
            customers.state,
            customers.country,
            customers.preferred_channel,
            customers.is_active,
            customers.signup_date,
            customers.last_login,
            orders.first_order_date,
            orders.last_order_date,
            cast(coalesce(orders.orders, 0) as bigint) as orders,
            cast(coalesce(orders.cancelled_orders, 0) as bigint) as cancelled_orders,
            cast(coalesce(orders.returned_orders, 0) as bigint) as returned_orders,
            cast(coalesce(items.gross_revenue, 0) as decimal(18, 2)) as gross_revenue,
            cast(coalesce(items.net_revenue, 0) as decimal(18, 2)) as net_revenue,
            cast(coalesce(orders.shipping, 0) as decimal(18, 2)) as shipping
        from customers
        left join orders on customers.customer_id = orders.customer_id
        left join items on customers.customer_id = items.customer_id
    )

select *
from final

-- a view: what depends on as_of differs every day for every customer, and only that
-- is computed here
{{ config(materialized="view") }}

with
    customers as (
        select *, {{ dbt.datediff("signup_date", as_of(), "day") }} - 1 as tenure_days
        from {{ ref("customers_enriched") }}
    ),

    rfm as (select * from {{ ref("customer_rfm") }}),

    orders as (
        select
            *,
            {{ dbt.datediff("last_net_order_date", as_of(), "day") }}
            - 1 as days_since_order
        from {{ ref("customer_lifetimes") }}
    ),

    final as (
        select
            -- an order that names no customer is one of the unknown member's
            coalesce(customers.customer_id, orders.customer_id) as customer_id,
            customers.email,
            customers.first_name,
            customers.last_name,
            customers.age_at_signup,
            customers.age_band,
            customers.gender,
            customers.annual_income,
            customers.marital_status,
            customers.education,
            customers.location_id,
            customers.location_type,
            coalesce(customers.city, 'Unknown') as city,
            coalesce(customers.state, 'Unknown') as state,
            customers.country,
            customers.preferred_channel,
            customers.is_active,
            customers.signup_date,
            customers.tenure_days,
            customers.last_login,
            case
                when customers.customer_id is not null
                then
                    {{
                        lifecycle_status(
                            "customers.is_active",
                            "orders.days_since_order",
                            "customers.tenure_days",
                        )
                    }}
            end as lifecycle_status,
            orders.first_net_order_date as first_order_date,
            orders.last_net_order_date as last_order_date,
            cast(orders.days_since_order as bigint) as recency_days,
            coalesce(rfm.frequency, 0) as frequency,
            cast(coalesce(rfm.monetary_value, 0) as decimal(18, 2)) as monetary_value,
            rfm.recency_score,
            rfm.frequency_score,
            rfm.monetary_score,
            case
                when customers.customer_id is null
                then 'Unknown'
                when orders.last_net_order_date is null
                then 'Never ordered'
                else coalesce(rfm.rfm_segment, 'Lapsed')
            end as rfm_segment,
            cast(coalesce(orders.orders, 0) as bigint) as orders,
            cast(coalesce(orders.cancelled_orders, 0) as bigint) as cancelled_orders,
            cast(coalesce(orders.returned_orders, 0) as bigint) as returned_orders,
            {{ sales_or_zero("orders") }},
            cast(coalesce(orders.profit, 0) as decimal(18, 2)) as lifetime_value,
            {{
                ratio(
                    "orders.gross_revenue",
                    "(orders.orders - orders.cancelled_orders)",
                    2,
                )
            }} as average_order_value
        from customers
        full outer join orders on customers.customer_id = orders.customer_id
        left join rfm on customers.customer_id = rfm.customer_id
    )

select *
from final

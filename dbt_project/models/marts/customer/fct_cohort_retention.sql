with
    orders as (select * from {{ ref("fct_customer_orders") }}),

    months as (select month_start from {{ ref("dim_dates") }} group by month_start),

    customers as (
        select
            customer_id,
            cast(
                {{ dbt.date_trunc("month", "first_order_date") }} as date
            ) as cohort_month
        from {{ ref("customer_lifetimes") }}
    ),

    cohorts as (
        select cohort_month, count(*) as cohort_size
        from customers
        group by cohort_month
    ),

    activity as (
        select
            customers.cohort_month,
            cast(
                {{ dbt.date_trunc("month", "orders.order_date") }} as date
            ) as order_month,
            count(distinct orders.customer_id) as customers,
            count(*) as orders,
            {{ sales_sums("orders") }}
        from orders
        inner join customers on orders.customer_id = customers.customer_id
        group by customers.cohort_month, order_month
    ),

    -- every month since, also those in which nobody of the cohort ordered
    grid as (
        select cohorts.cohort_month, cohorts.cohort_size, months.month_start
        from cohorts
        inner join months on cohorts.cohort_month <= months.month_start
    ),

    final as (
        select
            {{ fingerprint(["grid.cohort_month", "grid.month_start"]) }} as cohort_id,
            grid.cohort_month,
            cast(
                {{ dbt.datediff("grid.cohort_month", "grid.month_start", "month") }}
                as bigint
            ) as months_since,
            grid.cohort_size,
            coalesce(activity.customers, 0) as customers,
            coalesce(activity.orders, 0) as orders,
            {{ sales_or_zero("activity") }},
            {{ ratio("coalesce(activity.customers, 0)", "grid.cohort_size") }}
            as retention_rate
        from grid
        left join
            activity
            on grid.cohort_month = activity.cohort_month
            and grid.month_start = activity.order_month
    )

select *
from final

{{ config(materialized="table") }}

with
    orders as (
        select *
        from {{ ref("orders") }}
        where
            not is_cancelled
            and not is_returned
            and order_date >= {{ dbt.dateadd("day", -365, as_of()) }}
    ),

    items as (
        select order_id, sum(total_price) as revenue
        from {{ ref("order_items") }}
        where order_id in (select order_id from orders)
        group by order_id
    ),

    customers as (
        select
            orders.customer_id,
            max(orders.order_date) as last_order_date,
            count(*) as frequency,
            sum(coalesce(items.revenue, 0)) as monetary_value
        from orders
        left join items on orders.order_id = items.order_id
        where orders.customer_id <> {{ unknown() }}
        group by orders.customer_id
    ),

    -- a fifth of the customers each, except that equals score equally
    scored as (
        select
            customer_id,
            {{ dbt.datediff("last_order_date", as_of(), "day") }} - 1 as recency_days,
            frequency,
            monetary_value,
            {{ fifth("last_order_date") }} as recency_score,
            {{ fifth("frequency") }} as frequency_score,
            {{ fifth("monetary_value") }} as monetary_score
        from customers
    ),

    final as (
        select
            *,
            case
                when recency_score >= 4 and frequency_score >= 4
                then 'Champions'
                when recency_score >= 3 and frequency_score >= 3
                then 'Loyal'
                when recency_score >= 4
                then 'Promising'
                when recency_score = 3
                then 'Occasional'
                when frequency_score >= 3
                then 'At risk'
                else 'Hibernating'
            end as rfm_segment
        from scored
    )

select *
from final

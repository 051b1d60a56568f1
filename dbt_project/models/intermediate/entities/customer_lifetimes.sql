{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set changed = touched_customers() %}

with
    orders as (
        select ordered.*
        from {{ ref("orders") }} as ordered
        {% if is_incremental() %}
            where ordered.customer_id in ({{ changed }})
        {% endif %}
    ),

    items as (
        select order_id, sum(total_price) as price, sum(cost) as cost
        from {{ ref("order_items") }}
        where order_id in (select order_id from orders)
        group by order_id
    ),

    -- as the lines of fct_order_details add up: shipping is borne by items, where there
    -- are any
    placed as (
        select
            orders.*,
            not orders.is_cancelled as is_gross,
            not orders.is_cancelled and not orders.is_returned as is_net,
            items.price,
            items.cost as items_cost,
            case
                when items.order_id is not null then orders.shipping_cost
            end as shipping_charged
        from orders
        left join items on orders.order_id = items.order_id
    ),

    measured as (
        select
            *,
            case when is_gross then price end as gross_revenue,
            case when is_net then price end as net_revenue,
            case when is_gross then shipping_charged end as shipping,
            case when is_net then items_cost end as cost,
            case when is_net then price - items_cost end as profit
        from placed
    ),

    final as (
        select
            customer_id,
            min(order_date) as first_order_date,
            min(case when is_net then order_date end) as first_net_order_date,
            max(case when is_net then order_date end) as last_net_order_date,
            count(*) as orders,
            sum(case when is_cancelled then 1 else 0 end) as cancelled_orders,
            sum(case when is_returned then 1 else 0 end) as returned_orders,
            {% for measure in sales_amounts() %}
                cast(
                    sum(coalesce({{ measure }}, 0)) as decimal(18, 2)
                ) as {{ measure }}{{ "," if not loop.last }}
            {% endfor %}
        from measured
        group by customer_id
    )

select *
from final

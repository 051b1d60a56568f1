{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ forget('customer_id', touched_customers()) }}",
    )
}}

{%- set changed = touched_customers() %}

with
    orders as (
        select *
        from {{ ref("fct_customer_orders") }}
        where
            customer_id is not null
            {% if is_incremental() %} and customer_id in ({{ changed }}) {% endif %}
    ),

    final as (
        select
            customer_id,
            min(order_date) as first_order_date,
            max(order_date) as last_order_date,
            count(*) as orders,
            sum(
                case when order_status = 'Cancelled' then 1 else 0 end
            ) as cancelled_orders,
            sum(
                case when order_status = 'Returned' then 1 else 0 end
            ) as returned_orders,
            {{ sales_sums() }}
        from orders
        group by customer_id
    )

select *
from final

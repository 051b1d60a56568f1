{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ forget('coalesce(customer_id, 0)', 'select coalesce(customer_id, 0) from (' ~ touched_customers() ~ ') as customers') }}",
    )
}}

{%- set changed = touched_customers() %}

with
    orders as (
        select *
        from {{ ref("orders") }}
        {% if is_incremental() %}
            where
                coalesce(customer_id, 0)
                in (select coalesce(customer_id, 0) from ({{ changed }}) as customers)
        {% endif %}
    ),

    items as (
        select
            order_id,
            count(*) as items,
            cast(sum(coalesce(quantity, 0)) as bigint) as units,
            {{ sales_sums() }}
        from {{ ref("fct_order_details") }}
        where order_id in (select order_id from orders)
        group by order_id
    ),

    numbered as (
        select
            *,
            row_number() over (
                partition by customer_id order by ordered_at, order_id
            ) as order_number,
            lag(order_date) over (
                partition by customer_id order by ordered_at, order_id
            ) as previous_order_date
        from orders
    ),

    final as (
        select
            numbered.order_id,
            numbered.customer_id,
            numbered.location_id,
            numbered.order_date,
            numbered.ordered_at,
            numbered.order_status,
            numbered.payment_method,
            numbered.order_number,
            cast(
                {{
                    dbt.datediff(
                        "numbered.previous_order_date", "numbered.order_date", "day"
                    )
                }} as bigint
            ) as days_since_previous,
            coalesce(items.items, 0) as items,
            coalesce(items.units, 0) as units,
            {{ sales_or_zero("items") }},
            numbered.total_amount
        from numbered
        left join items on numbered.order_id = items.order_id
    )

select *
from final
order by ordered_at

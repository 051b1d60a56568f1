{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set changed = touched_customers_orders() %}

with
    orders as (
        select placed.*
        from {{ ref("orders") }} as placed
        {% if is_incremental() %} where placed.order_id in ({{ changed }}) {% endif %}
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
            ) as previous_order_date,
            customer_id <> {{ unknown() }} as is_numbered
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
            numbered.is_cancelled,
            numbered.is_returned,
            numbered.payment_method,
            case
                when numbered.is_numbered then numbered.order_number
            end as order_number,
            cast(
                case
                    when numbered.is_numbered
                    then
                        {{
                            dbt.datediff(
                                "numbered.previous_order_date",
                                "numbered.order_date",
                                "day",
                            )
                        }}
                end as bigint
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

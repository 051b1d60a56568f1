{{ config(unique_key="order_id") }}

with
    records as (
        select
            order_id,
            customer_id,
            {{ instant("order_date") }} as order_date,
            status,
            total_amount,
            shipping_cost,
            payment_method,
            shipping_address,
            billing_address,
            {{ instant("created_at") }} as created_at,
            {{ instant("updated_at") }} as updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "orders") }}
        where {{ unbuilt("orders") }}
    ),

    -- one that was placed after the cut waits for its day, as its items do
    versions as (
        select *
        from records
        where {{ ordered_at("order_date", "created_at") }} < {{ as_of() }}
    ),

    final as ({{ current_records("versions", key="order_id") }})

select *
from final
order by _cursor

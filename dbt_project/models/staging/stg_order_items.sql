{{ config(unique_key="order_item_id") }}

with
    versions as (
        select
            order_item_id,
            order_id,
            product_id,
            quantity,
            unit_price,
            total_price,
            created_at,
            updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "order_items") }}
        where {{ unbuilt("order_items") }}
    ),

    final as ({{ current_records("versions", key="order_item_id") }})

select *
from final
order by _cursor

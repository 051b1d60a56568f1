{{ config(unique_key="event_id") }}

with
    versions as (
        select
            event_id,
            customer_id,
            product_id,
            event_type,
            {{ happened_at() }} as event_date,
            device_type,
            session_id,
            created_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "interactions") }}
        where {{ unbuilt("interactions") }}
    ),

    final as ({{ current_records("versions", key="event_id") }})

select *
from final
order by _cursor

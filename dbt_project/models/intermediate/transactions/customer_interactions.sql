with
    events as (select * from {{ ref("stg_interactions") }}),

    final as (
        select
            event_id,
            {{ session_id() }} as session_id,
            customer_id,
            product_id,
            event_type,
            cast(event_date as date) as event_date,
            event_date as event_at,
            coalesce(device_type, 'unknown') as device_type,
            _batch,
            _revision
        from events
    )

select *
from final

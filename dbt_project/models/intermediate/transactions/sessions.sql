{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = remade("sessions") %}
{%- set since = sessions_since(touched_sessions_starts(this)) %}

with
    events as (
        select *
        from {{ ref("customer_interactions") }}
        -- one without an instant counts on no day
        where
            event_at is not null
            {% if is_incremental() %}
                and {{ touched }} and event_at >= {{ since }}
            {% endif %}
    ),

    final as (
        select
            session_id,
            min(customer_id) as customer_id,
            coalesce(min(nullif(device_type, 'unknown')), 'unknown') as device_type,
            cast(max(event_at) as date) as session_date,
            min(event_at) as started_at,
            max(event_at) as ended_at,
            count(*) as events,
            sum(case when event_type = 'search' then 1 else 0 end) as searches,
            sum(case when event_type = 'view' then 1 else 0 end) as views,
            sum(case when event_type = 'cart_add' then 1 else 0 end) as cart_adds,
            sum(case when event_type = 'cart_remove' then 1 else 0 end) as cart_removes,
            sum(case when event_type = 'purchase' then 1 else 0 end) as purchases
        from events
        group by session_id
    )

select *
from final
order by session_date

{%- set steps = 6 %}

with
    sessions as (
        select session_id, started_at
        from {{ ref("sessions") }}
        where session_date >= {{ dbt.dateadd("day", -90, as_of()) }}
    ),

    -- whole sessions, also what of them lies before the first of those days
    events as (
        select session_id, event_type, event_at, event_id
        from {{ ref("customer_interactions") }}
        where
            event_type is not null
            and session_id in (select session_id from sessions)
            and event_at >= (select min(started_at) from sessions)
    ),

    compared as (
        select
            *,
            lag(event_type) over (
                partition by session_id order by event_at, event_id
            ) as event_type_before
        from events
    ),

    -- several views in a row are one stage of the journey
    stages as (
        select
            session_id,
            event_type,
            row_number() over (
                partition by session_id order by event_at, event_id
            ) as step
        from compared
        where event_type_before is null or event_type <> event_type_before
    ),

    followed as (
        select
            step,
            event_type,
            lead(event_type) over (
                partition by session_id order by step
            ) as event_type_after
        from stages
    ),

    links as (
        select
            step,
            step || ' ' || event_type as source,
            case
                when event_type_after is null
                then 'end'
                when step = {{ steps }}
                then 'more'
                else (step + 1) || ' ' || event_type_after
            end as target
        from followed
        where step <= {{ steps }}
    ),

    final as (
        select
            {{ fingerprint(["step", "source", "target"]) }} as link_id,
            step,
            source,
            target,
            count(*) as value
        from links
        group by step, source, target
    )

select *
from final

{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set changed = touched_session_days() %}

with
    sessions as (
        select *
        from {{ ref("sessions") }}
        where
            customer_id is not null
            {% if is_incremental() %} and session_date in ({{ changed }}) {% endif %}
    ),

    counts as (
        select
            customer_id,
            session_date as activity_date,
            count(*) as sessions,
            cast(
                sum({{ dbt.datediff("started_at", "ended_at", "second") }}) as bigint
            ) as seconds,
            {% for measure in (
                "events",
                "searches",
                "views",
                "cart_adds",
                "cart_removes",
                "purchases",
            ) %}
                cast(
                    sum({{ measure }}) as bigint
                ) as {{ measure }}{{ "," if not loop.last }}
            {% endfor %}
        from sessions
        group by customer_id, session_date
    ),

    final as (
        select {{ fingerprint(["customer_id", "activity_date"]) }} as activity_id, *
        from counts
    )

select *
from final
order by activity_date

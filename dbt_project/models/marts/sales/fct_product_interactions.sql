{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set changed = touched_event_days() %}

with
    events as (
        select *
        from {{ ref("customer_interactions") }}
        where
            product_id is not null and event_at is not null
            {% if is_incremental() %}
                and event_date in ({{ changed }})
                -- of the column as it is stored: the engine skips the days before
                and event_at
                >= (select min(event_day) from ({{ changed }}) as changed_days)
            {% endif %}
    ),

    counts as (
        select
            event_date,
            product_id,
            count(*) as events,
            count(distinct session_id) as sessions,
            count(distinct customer_id) as customers,
            cast(
                sum(case when event_type = 'view' then 1 else 0 end) as bigint
            ) as views,
            cast(
                sum(case when event_type = 'cart_add' then 1 else 0 end) as bigint
            ) as cart_adds,
            cast(
                sum(case when event_type = 'cart_remove' then 1 else 0 end) as bigint
            ) as cart_removes,
            cast(
                sum(case when event_type = 'purchase' then 1 else 0 end) as bigint
            ) as purchases
        from events
        group by event_date, product_id
    ),

    final as (
        select {{ fingerprint(["event_date", "product_id"]) }} as interactions_id, *
        from counts
    )

select *
from final
order by event_date

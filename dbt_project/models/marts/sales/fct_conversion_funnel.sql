{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = remade("fct_conversion_funnel") %}

with
    sessions as (
        select *
        from {{ ref("sessions") }}
        {% if is_incremental() %} where {{ touched }} {% endif %}
    ),

    counts as (
        select
            session_date,
            device_type,
            count(*) as sessions,
            count(distinct customer_id) as customers,
            {% for step in ("views", "cart_adds", "purchases") %}
                cast(
                    sum(case when {{ step }} > 0 then 1 else 0 end) as bigint
                ) as sessions_with_{{ step }},
                cast(sum({{ step }}) as bigint) as {{ step }}{{ "," if not loop.last }}
            {% endfor %}
        from sessions
        group by session_date, device_type
    ),

    final as (
        select
            {{ fingerprint(["session_date", "device_type"]) }} as funnel_id,
            *,
            {{ ratio("sessions_with_views", "sessions") }} as view_rate,
            {{ ratio("sessions_with_cart_adds", "sessions") }} as cart_rate,
            {{ ratio("sessions_with_purchases", "sessions_with_cart_adds") }}
            as checkout_rate,
            {{ ratio("sessions_with_purchases", "sessions") }} as conversion_rate
        from counts
    )

select *
from final

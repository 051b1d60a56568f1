{# What an increment must rebuild of what is made of events; see touched.sql. #}
{% macro touched_sessions() -%}
    {{ touched("interactions", "event_id", session_id()) }}
{%- endmacro %}

{# An event without a session is a session by itself. #}
{% macro session_id() -%}
    coalesce(session_id, 'event ' || cast(event_id as {{ dbt.type_string() }}))
{%- endmacro %}

{# No session with an event of this build began before; a session lasts minutes, so a week is ample. #}
{% macro sessions_since() -%}
    (
        select {{ dbt.dateadd("day", -7, "min(event_date)") }}
        from ({{ touched("interactions", "event_id", "event_date") }}) as brought
    )
{%- endmacro %}

{# Days with any event of a session that has a new one: among them is the day that the session counted on before. #}
{% macro touched_session_days() -%}
    select event_date
    from {{ ref("customer_interactions") }}
    where
        session_id in ({{ touched_sessions() }}) and event_at >= {{ sessions_since() }}
{%- endmacro %}

{% macro touched_event_days() -%}
    {{ touched("interactions", "event_id", "cast(event_date as date) as event_day") }}
{%- endmacro %}

{# What an increment must rebuild of what is made of events; see touched.sql. #}
{% macro touched_sessions() -%}
    {{ touched("interactions", "event_id", session_id()) }}
{%- endmacro %}

{# An event without a session is a session by itself. #}
{% macro session_id() -%}
    coalesce(session_id, 'event ' || cast(event_id as {{ dbt.type_string() }}))
{%- endmacro %}

{% macro touched_events_since() -%}
    select min(event_at)
    from
        (
            {{ touched("interactions", "event_id", happened_at() ~ " as event_at") }}
        ) as dated
{%- endmacro %}

{#
    Starts of the touched sessions, by the rows that the last build left in the relation `sessions`. A shop's session
    may last as long as a cookie, so no window holds them: this looks at the key of every session there is.
#}
{% macro touched_sessions_starts(sessions) -%}
    select started_at from {{ sessions }} where session_id in ({{ touched_sessions() }})
{%- endmacro %}

{#
    The same once the sessions are made anew. Those with an event of this build have ended since the first of these, so
    that the engine skips the days before; only those that an event left, usually none, are looked for among all.
#}
{% macro remade_sessions_starts() -%}
    select started_at
    from {{ ref("sessions") }}
    where
        session_id in ({{ touched_sessions() }})
        and ended_at >= ({{ touched_events_since() }})
    union all
    select started_at
    from {{ ref("sessions") }}
    where
        session_id in (
            {{ touched_sessions() }}
            except
            select session_id
            from {{ ref("customer_interactions") }}
            where {{ brought("interactions") }}
        )
{%- endmacro %}

{# Where the events of the touched sessions begin: the engine skips the days before. #}
{% macro sessions_since(starts) -%}
    (
        select min(started_at)
        from
            (
                {{ touched_events_since() }}
                union all
                {{ starts }}
            ) as begun(started_at)
    )
{%- endmacro %}

{# Days with any event of a touched session, now or before: among them are those that it counts on and counted on. #}
{% macro touched_session_days() -%}
    {{ touched_event_days() }}
    union
    select event_date
    from {{ ref("customer_interactions") }}
    where
        session_id in ({{ touched_sessions() }})
        and event_at >= {{ sessions_since(remade_sessions_starts()) }}
{%- endmacro %}

{% macro touched_event_days() -%}
    {%- set day = "cast(" ~ happened_at() ~ " as date) as event_day" -%}
    {{ touched("interactions", "event_id", day) }}
{%- endmacro %}

{# ISO text as a UTC timestamp: with an offset it is converted, without a zone it is UTC, a date is its midnight. #}
{% macro instant(text) -%}
    {{ return(adapter.dispatch("instant")(text)) }}
{%- endmacro %}

{# By way of timestamptz: DuckDB's cast of text to timestamp drops the offset. The profile sets the zone to UTC. #}
{% macro duckdb__instant(text) -%}
    timezone('UTC', cast({{ text }} as timestamptz))
{%- endmacro %}

{# What has a zone by itself is converted; the rest is UTC whatever zone the session is in. #}
{% macro snowflake__instant(text) -%}
    case
        when
            regexp_like({{ text }}, '.*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)')
            and length({{ text }}) > 10
        then
            cast(
                convert_timezone(
                    'UTC', cast({{ text }} as timestamp_tz)
                ) as timestamp_ntz
            )
        else cast({{ text }} as timestamp_ntz)
    end
{%- endmacro %}

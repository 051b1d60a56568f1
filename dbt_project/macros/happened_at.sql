{#
    The instant of an event: as told, but never after its record was made. So the clock of a visitor that runs ahead
    moves no event past the cut, to a day that the calendar does not have yet.
#}
{% macro happened_at() -%}
    case when event_date > _cursor then _cursor else event_date end
{%- endmacro %}

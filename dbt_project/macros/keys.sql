{# One text that tells rows apart by these columns, NULL and the empty text included. #}
{% macro fingerprint(columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- do texts.append(
            "coalesce(cast("
            ~ column
            ~ " as "
            ~ dbt.type_string()
            ~ "), '<null>')"
        ) -%}
    {%- endfor -%}
    {{ dbt.hash(texts | join(" || '|' || ")) }}
{%- endmacro %}

{# Part `number` of "street, city, state", counted from the end: -1 is the state; Unknown if there are fewer than three. #}
{% macro address_part(address, number) -%}
    case
        when length({{ address }}) - length(replace({{ address }}, ',', '')) >= 2
        then
            coalesce(
                nullif(trim({{ dbt.split_part(address, "','", number) }}), ''),
                'Unknown'
            )
        else 'Unknown'
    end
{%- endmacro %}

{# A place is its city and state, however they are spelled. #}
{% macro location_id(city, state) -%}
    {{ dbt.hash("lower(trim(" ~ city ~ ")) || '|' || lower(trim(" ~ state ~ "))") }}
{%- endmacro %}

{#
    Select of the current record per key out of the relation `versions`: the version with the greatest
    (_cursor, _batch, _version), a missing _cursor being the least. In an increment only the versions that are greater
    than the record already in the model are left, so a late or repeated batch can never undo a newer one.
#}
{% macro current_records(versions, key) -%}
    {%- do check_cut(model.name | replace("stg_", "")) -%}
    select {{ versions }}.*
    from {{ versions }}
    {%- if is_incremental() %}
        left join {{ this }} as held on {{ versions }}.{{ key }} = held.{{ key }}
        where held.{{ key }} is null or {{ is_greater(versions, "held") }}
    {%- endif %}
    qualify
        row_number() over (
            partition by {{ versions }}.{{ key }}
            order by
                {{ versions }}._cursor desc nulls last,
                {{ versions }}._batch desc,
                {{ versions }}._version desc
        )
        = 1
{%- endmacro %}

{# Whether version `a` supersedes version `b`; spelled out because not every engine compares tuples with `>`. #}
{% macro is_greater(a, b) -%}
    {%- set least = "cast('0001-01-01' as " ~ dbt.type_timestamp() ~ ")" -%}
    {%- set a_cursor = "coalesce(" ~ a ~ "._cursor, " ~ least ~ ")" -%}
    {%- set b_cursor = "coalesce(" ~ b ~ "._cursor, " ~ least ~ ")" -%}
    (
        {{ a_cursor }} > {{ b_cursor }}
        or (
            {{ a_cursor }} = {{ b_cursor }}
            and (
                {{ a }}._batch > {{ b }}._batch
                or (
                    {{ a }}._batch = {{ b }}._batch
                    and {{ a }}._version > {{ b }}._version
                )
            )
        )
    )
{%- endmacro %}

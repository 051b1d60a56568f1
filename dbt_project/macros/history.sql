{#
    Select of the slowly changing history of a table: a row per state of the `tracked` columns, in force from the
    instant of the version that brought it until that of the next. Of versions with one `_cursor` the greatest counts,
    as in staging; a version that changes nothing tracked opens no row. In an increment only the keys that have a new
    version are made, from all of theirs. `meant` gives the expression of a column that is not taken as raw has it.
#}
{% macro history(table, key, tracked, meant={}) -%}
    {%- set changed = touched(table, key, key) -%}
    with
        records as (
            select
                {{ key }},
                {%- for column in tracked %}
                    {{ meant[column] ~ " as " if column in meant }}{{ column }},
                {%- endfor %}
                _cursor,
                _batch,
                _version
            from {{ source("raw", table) }}
            where _batch < {{ as_of() }}
        ),

        versions as (
            select
                *,
                {{ fingerprint(tracked) }} as fingerprint,
                row_number() over (
                    partition by {{ key }}, _cursor order by _batch desc, _version desc
                ) as place
            from records
            {% if is_incremental() %} where {{ key }} in ({{ changed }}) {% endif %}
        ),

        compared as (
            select
                *,
                lag(fingerprint) over (
                    partition by {{ key }} order by _cursor nulls first
                ) as fingerprint_before
            from versions
            where place = 1
        ),

        opened as (
            select
                *,
                row_number() over (
                    partition by {{ key }} order by _cursor nulls first
                ) as version_number,
                lead(_cursor) over (
                    partition by {{ key }} order by _cursor nulls first
                ) as valid_to
            from compared
            where fingerprint_before is null or fingerprint <> fingerprint_before
        ),

        final as (
            select
                {{ fingerprint([key, "version_number"]) }} as version_id,
                {{ key }},
                version_number,
                _cursor as valid_from,
                valid_to,
                valid_to is null as is_current,
                {{ tracked | join(", ") }}
            from opened
        )

    select *
    from final
{%- endmacro %}

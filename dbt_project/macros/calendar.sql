{#
    Select of the days from `first` on and before `until`, as `date_day`, at most a century of them. Unlike dbt's
    date_spine it asks the warehouse nothing while it compiles.
#}
{% macro calendar(first, until) -%}
    select
        cast(
            {{
                dbt.dateadd(
                    "day", "cast(generated_number as integer) - 1", "first_day"
                )
            }} as date
        ) as date_day
    from (select {{ first }} as first_day) as opening
    cross join ({{ dbt.generate_series(36525) }}) as numbers
    where generated_number <= {{ dbt.datediff("first_day", until, "day") }}
{%- endmacro %}

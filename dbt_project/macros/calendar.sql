{#
    Select of the days from `first` on and before `until`, as `date_day`, at most a century of them. Unlike dbt's
    date_spine it asks the warehouse nothing while it compiles.
#}
{% macro calendar(first, until) -%}
    with
        opening as (select {{ first }} as first_day),

        numbers as ({{ dbt.generate_series(36525) }})

    select
        cast(
            {{
                dbt.dateadd(
                    "day",
                    "cast(numbers.generated_number as integer) - 1",
                    "opening.first_day",
                )
            }} as date
        ) as date_day
    from opening
    cross join numbers
    where
        numbers.generated_number
        <= {{ dbt.datediff("opening.first_day", until, "day") }}
{%- endmacro %}

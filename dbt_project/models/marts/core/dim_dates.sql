{%- set opening -%}
    (
        select coalesce(min(first_day), {{ dbt.dateadd("day", -1, as_of()) }})
        from
            (
                select min(order_date) as first_day from {{ ref("orders") }}
                union all
                select cast(min(event_at) as date) as first_day
                from {{ ref("customer_interactions") }}
                union all
                select min(signup_date) as first_day
                from {{ ref("customers_enriched") }}
            ) as firsts
    )
{%- endset -%}
{%- set weekdays = "'Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday'" -%}
{%- set months = "'January,February,March,April,May,June,July,August,September,October,November,December'" %}

with
    spine as ({{ calendar(opening, as_of()) }}),

    days as (
        select
            date_day,
            -- 1900-01-01 was a Monday
            {{ dbt.datediff("cast('1900-01-01' as date)", "date_day", "day") }} % 7
            + 1 as weekday
        from spine
    ),

    weeks as (
        select
            *,
            cast(
                {{ dbt.dateadd("day", "1 - weekday", "date_day") }} as date
            ) as week_start,
            -- the week belongs to the year of its Thursday
            cast(
                {{ dbt.dateadd("day", "4 - weekday", "date_day") }} as date
            ) as thursday,
            -- that of a week from Tuesday to Monday, as Cyber Monday belongs to the
            -- one before
            cast(
                {{ dbt.dateadd("day", "2 - (weekday + 5) % 7", "date_day") }} as date
            ) as shopping_thursday,
            cast(extract(day from date_day) as bigint) as day_of_month,
            cast(extract(month from date_day) as bigint) as month
        from days
    ),

    final as (
        select
            date_day,
            cast(weekday as bigint) as weekday,
            split_part({{ weekdays }}, ',', weekday) as weekday_name,
            weekday >= 6 as is_weekend,
            cast(extract(year from thursday) as bigint) as iso_year,
            cast(
                floor(
                    {{
                        dbt.datediff(
                            dbt.date_trunc("year", "thursday"), "thursday", "day"
                        )
                    }} / 7
                )
                + 1 as bigint
            ) as iso_week,
            week_start,
            day_of_month,
            month,
            split_part({{ months }}, ',', month) as month_name,
            cast({{ dbt.date_trunc("month", "date_day") }} as date) as month_start,
            cast(extract(quarter from date_day) as bigint) as quarter,
            cast({{ dbt.date_trunc("quarter", "date_day") }} as date) as quarter_start,
            cast(extract(year from date_day) as bigint) as year,
            case
                when
                    extract(month from shopping_thursday) = 11
                    and extract(day from shopping_thursday) between 22 and 28
                then 'Black Friday'
                when month = 12 and day_of_month <= 26
                then 'Christmas'
            end as holiday_season,
            {{ dbt.datediff("date_day", as_of(), "day") }} = 1 as is_last_day
        from weeks
    )

select *
from final

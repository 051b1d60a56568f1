-- no day is missing between the first and the last, which is the day before as_of
with
    ends as (
        select
            min(date_day) as first_day, max(date_day) as last_day, count(*) as day_count
        from {{ ref("dim_dates") }}
    )

select *
from ends
where
    day_count <> {{ dbt.datediff("first_day", "last_day", "day") }} + 1
    or {{ dbt.datediff("last_day", as_of(), "day") }} <> 1

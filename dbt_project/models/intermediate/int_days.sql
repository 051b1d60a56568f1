{%- set opening -%}
    (select coalesce(min(order_date), {{ dbt.dateadd("day", -1, as_of()) }}) from {{ ref("int_orders") }})
{%- endset -%}

with
    days as ({{ dbt.date_spine("day", opening, as_of()) }}),

    final as (select cast(date_day as date) as date_day from days)

select *
from final

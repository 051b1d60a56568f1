{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = remade("fct_sales_by_region") %}

with
    lines as (
        select *
        from {{ ref("fct_order_details") }}
        {% if is_incremental() %} where {{ touched }} {% endif %}
    ),

    sales as (
        select order_date, location_id, {{ sales_measures() }}
        from lines
        group by order_date, location_id
    ),

    final as (
        select {{ fingerprint(["order_date", "location_id"]) }} as sales_id, *
        from sales
    )

select *
from final
order by order_date

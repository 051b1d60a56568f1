{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = remade("fct_sales_by_product") %}

with
    lines as (
        select *
        from {{ ref("fct_order_details") }}
        {% if is_incremental() %} where {{ touched }} {% endif %}
    ),

    sales as (
        select order_date, product_id, {{ sales_measures() }}
        from lines
        group by order_date, product_id
    ),

    final as (
        select {{ fingerprint(["order_date", "product_id"]) }} as sales_id, * from sales
    )

select *
from final
order by order_date

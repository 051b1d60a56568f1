{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ forget('order_date', touched_order_days()) }}",
    )
}}

{%- set changed = touched_order_days() %}

with
    lines as (
        select *
        from {{ ref("fct_order_details") }}
        {% if is_incremental() %} where order_date in ({{ changed }}) {% endif %}
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

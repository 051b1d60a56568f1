{# One row with the counts if what was bought in sessions is not what was ordered, in some mart. #}
{% macro funnel_gap() -%}
    with
        counts as (
            select
                (
                    select coalesce(sum(purchases), 0)
                    from {{ ref("fct_conversion_funnel") }}
                ) as funnel,
                (
                    select coalesce(sum(purchases), 0)
                    from {{ ref("fct_product_interactions") }}
                ) as products,
                (
                    select coalesce(sum(purchases), 0)
                    from {{ ref("fct_customer_activity") }}
                ) as customers,
                (select count(*) from {{ ref("order_items") }}) as items
        )

    select *
    from counts
    where (funnel <> items or products <> items or customers <> items)
{%- endmacro %}

{# Whether the shop is the pipeline's own; the pipeline says so, dbt by hand takes a shop for a real one. #}
{% macro is_simulated() -%} {{ return(var("simulated", false)) }} {%- endmacro %}

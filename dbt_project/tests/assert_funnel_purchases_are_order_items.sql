-- every item that was ordered was bought in a session, and nothing else was; a warning
-- because a real shop's tracking may miss a purchase, which must not stop its marts
{{ config(severity="warn") }}

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
where funnel <> items or products <> items or customers <> items

{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set touched = remade("fct_customer_reviews") %}

with
    reviews as (
        select *
        from {{ ref("reviews_enriched") }}
        {% if is_incremental() %} where {{ touched }} {% endif %}
    ),

    final as (
        select
            review_id,
            customer_id,
            product_id,
            order_id,
            review_date,
            review_score,
            sentiment,
            helpful_votes,
            is_verified_purchase,
            cast(days_after_order as bigint) as days_after_order
        from reviews
    )

select *
from final
order by review_date

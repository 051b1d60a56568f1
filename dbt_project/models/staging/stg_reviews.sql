{{ config(unique_key="review_id") }}

with
    versions as (
        select
            review_id,
            product_id,
            order_id,
            customer_id,
            review_score,
            review_text,
            {{ instant("review_date") }} as review_date,
            helpful_votes,
            verified_purchase,
            {{ instant("created_at") }} as created_at,
            {{ instant("updated_at") }} as updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "reviews") }}
        where {{ unbuilt("reviews") }}
    ),

    final as ({{ current_records("versions", key="review_id") }})

select *
from final
order by _cursor

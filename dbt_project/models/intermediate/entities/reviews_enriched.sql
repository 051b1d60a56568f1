with
    reviews as (select * from {{ ref("stg_reviews") }}),

    orders as (select * from {{ ref("orders") }}),

    final as (
        select
            reviews.review_id,
            reviews.product_id,
            reviews.order_id,
            reviews.customer_id,
            cast(reviews.review_date as date) as review_date,
            reviews.review_score,
            case
                when reviews.review_score >= 4
                then 'positive'
                when reviews.review_score = 3
                then 'neutral'
                when reviews.review_score < 3
                then 'negative'
            end as sentiment,
            coalesce(reviews.helpful_votes, 0) as helpful_votes,
            coalesce(reviews.verified_purchase, false) as is_verified_purchase,
            {{
                dbt.datediff(
                    "orders.order_date", "cast(reviews.review_date as date)", "day"
                )
            }} as days_after_order,
            reviews._batch,
            reviews._revision
        from reviews
        left join orders on reviews.order_id = orders.order_id
    )

select *
from final

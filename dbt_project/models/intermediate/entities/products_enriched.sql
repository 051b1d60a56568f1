with
    products as (select * from {{ ref("stg_products") }}),

    subcategories as (select * from {{ ref("stg_subcategories") }}),

    categories as (select * from {{ ref("stg_categories") }}),

    reviews as (
        select
            product_id, sum(review_score) as scores, count(review_score) as review_count
        from {{ ref("stg_reviews") }}
        group by product_id
    ),

    final as (
        select
            products.product_id,
            products.product_name,
            products.description,
            case
                when products.brand is not null then {{ dbt.hash("products.brand") }}
            end as brand_id,
            products.brand,
            products.sku,
            {{ known_or_unknown("products.category_id") }} as category_id,
            coalesce(categories.category_name, 'No category') as category_name,
            products.subcategory_id,
            subcategories.subcategory_name,
            products.base_price,
            products.sale_price,
            products.unit_cost,
            cast(
                products.base_price - products.sale_price as decimal(12, 2)
            ) as discount,
            cast(
                products.sale_price - products.unit_cost as decimal(12, 2)
            ) as unit_margin,
            {{
                ratio(
                    "(products.sale_price - products.unit_cost)",
                    "products.sale_price",
                )
            }} as margin_rate,
            {{ ratio("reviews.scores", "reviews.review_count", 2) }} as rating,
            coalesce(reviews.review_count, 0) as review_count,
            products.stock_quantity,
            products.updated_at as stock_counted_at,
            products.weight_kg,
            products.is_active,
            products.created_at as launched_at
        from products
        left join categories on products.category_id = categories.category_id
        left join
            subcategories on products.subcategory_id = subcategories.subcategory_id
        left join reviews on products.product_id = reviews.product_id
    )

select *
from final

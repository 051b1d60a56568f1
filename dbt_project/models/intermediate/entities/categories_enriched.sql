with
    categories as (select * from {{ ref("stg_categories") }}),

    subcategories as (
        select
            category_id,
            count(*) as subcategories,
            sum(products) as products,
            sum(active_products) as active_products
        from {{ ref("subcategories_enriched") }}
        group by category_id
    ),

    final as (
        select
            categories.category_id,
            categories.category_name,
            coalesce(subcategories.subcategories, 0) as subcategories,
            coalesce(subcategories.products, 0) as products,
            coalesce(subcategories.active_products, 0) as active_products
        from categories
        left join subcategories on categories.category_id = subcategories.category_id
    )

select *
from final

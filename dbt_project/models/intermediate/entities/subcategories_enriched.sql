with
    subcategories as (select * from {{ ref("stg_subcategories") }}),

    categories as (select * from {{ ref("stg_categories") }}),

    products as (
        select
            subcategory_id,
            count(*) as products,
            sum(case when is_active then 1 else 0 end) as active_products
        from {{ ref("stg_products") }}
        group by subcategory_id
    ),

    final as (
        select
            subcategories.subcategory_id,
            subcategories.subcategory_name,
            subcategories.category_id,
            categories.category_name,
            coalesce(products.products, 0) as products,
            coalesce(products.active_products, 0) as active_products
        from subcategories
        left join categories on subcategories.category_id = categories.category_id
        left join products on subcategories.subcategory_id = products.subcategory_id
    )

select *
from final

with
    products as (select * from {{ ref("stg_products") }}),

    categories as (select * from {{ ref("stg_categories") }}),

    subcategories as (select * from {{ ref("stg_subcategories") }}),

    final as (
        select
            products.product_id,
            products.product_name,
            products.description,
            products.brand,
            products.sku,
            products.category_id,
            categories.category_name,
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
            products.stock_quantity,
            products.weight_kg,
            products.is_active,
            products.created_at as launched_at
        from products
        left join categories on products.category_id = categories.category_id
        left join
            subcategories on products.subcategory_id = subcategories.subcategory_id
    )

select *
from final

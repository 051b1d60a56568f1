with
    categories as (select * from {{ ref("categories_enriched") }}),

    products as (select * from {{ ref("products_enriched") }}),

    sales as (
        select
            -- items that name no product are of no category either
            {{ known_or_unknown("products.category_id") }} as category_id,
            count(products.product_id) as products,
            sum(case when products.is_active then 1 else 0 end) as active_products,
            sum(performance.units) as units,
            {{ sales_sums("performance") }}
        from {{ ref("fct_product_performance") }} as performance
        left join products on performance.product_id = products.product_id
        group by 1
    ),

    final as (
        select
            -- products that name no category are the unknown member's
            coalesce(categories.category_id, sales.category_id) as category_id,
            coalesce(categories.category_name, 'No category') as category_name,
            cast(coalesce(categories.subcategories, 0) as bigint) as subcategories,
            cast(coalesce(categories.products, sales.products) as bigint) as products,
            cast(
                coalesce(categories.active_products, sales.active_products) as bigint
            ) as active_products,
            cast(coalesce(sales.units, 0) as bigint) as units,
            {{ sales_or_zero("sales") }}
        from categories
        full outer join sales on categories.category_id = sales.category_id
    )

select *
from final

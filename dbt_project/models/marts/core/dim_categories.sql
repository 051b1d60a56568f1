with
    categories as (select * from {{ ref("categories_enriched") }}),

    products as (select * from {{ ref("products_enriched") }}),

    sales as (
        select
            products.category_id,
            sum(performance.units) as units,
            {{ sales_sums("performance") }}
        from {{ ref("fct_product_performance") }} as performance
        inner join products on performance.product_id = products.product_id
        group by products.category_id
    ),

    final as (
        select
            categories.category_id,
            categories.category_name,
            cast(categories.subcategories as bigint) as subcategories,
            cast(categories.products as bigint) as products,
            cast(categories.active_products as bigint) as active_products,
            cast(coalesce(sales.units, 0) as bigint) as units,
            {{ sales_or_zero("sales") }}
        from categories
        left join sales on categories.category_id = sales.category_id
    )

select *
from final

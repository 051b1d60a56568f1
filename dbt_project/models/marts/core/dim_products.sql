-- a view: what is known of a product is made by the models below it
{{ config(materialized="view") }}

with
    products as (select * from {{ ref("products_enriched") }}),

    inventory as (select * from {{ ref("fct_inventory_position") }}),

    sold as (select product_id from {{ ref("fct_product_performance") }}),

    final as (
        select
            -- an item that names no product is one of the unknown member's
            coalesce(products.product_id, sold.product_id) as product_id,
            case
                when products.product_id is null
                then 'No product'
                else products.product_name
            end as product_name,
            products.description,
            products.brand_id,
            products.brand,
            products.sku,
            {{ known_or_unknown("products.category_id") }} as category_id,
            coalesce(products.category_name, 'No category') as category_name,
            products.subcategory_id,
            products.subcategory_name,
            products.base_price,
            products.sale_price,
            products.unit_cost,
            products.discount,
            products.unit_margin,
            products.margin_rate,
            products.rating,
            coalesce(products.review_count, 0) as review_count,
            products.stock_quantity,
            inventory.stock_on_hand,
            inventory.inventory_status,
            products.weight_kg,
            products.is_active,
            products.launched_at
        from products
        full outer join sold on products.product_id = sold.product_id
        left join inventory on products.product_id = inventory.product_id
    )

select *
from final

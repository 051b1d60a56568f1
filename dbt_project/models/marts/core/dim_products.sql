-- a view: what is known of a product is made by the models below it
{{ config(materialized="view") }}

with
    products as (select * from {{ ref("products_enriched") }}),

    inventory as (select * from {{ ref("fct_inventory_position") }}),

    final as (
        select
            products.product_id,
            products.product_name,
            products.description,
            products.brand_id,
            products.brand,
            products.sku,
            products.category_id,
            products.category_name,
            products.subcategory_id,
            products.subcategory_name,
            products.base_price,
            products.sale_price,
            products.unit_cost,
            products.discount,
            products.unit_margin,
            products.margin_rate,
            products.rating,
            products.review_count,
            products.stock_quantity,
            inventory.stock_on_hand,
            inventory.inventory_status,
            products.weight_kg,
            products.is_active,
            products.launched_at
        from products
        left join inventory on products.product_id = inventory.product_id
    )

select *
from final

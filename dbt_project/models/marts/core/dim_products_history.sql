{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set tracked = [
    "category_id",
    "subcategory_id",
    "product_name",
    "description",
    "brand",
    "sku",
    "base_price",
    "sale_price",
    "unit_cost",
    "weight_kg",
    "is_active",
] %}

{{ history("products", "product_id", tracked) }}

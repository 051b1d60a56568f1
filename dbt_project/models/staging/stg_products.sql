{{ config(unique_key="product_id") }}

with
    versions as (
        select
            product_id,
            category_id,
            subcategory_id,
            product_name,
            description,
            brand,
            sku,
            base_price,
            sale_price,
            unit_cost,
            stock_quantity,
            weight_kg,
            is_active,
            {{ instant("created_at") }} as created_at,
            {{ instant("updated_at") }} as updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "products") }}
        where {{ unbuilt("products") }}
    ),

    final as ({{ current_records("versions", key="product_id") }})

select *
from final
order by _cursor

with
    items as (select * from {{ ref("stg_order_items") }}),

    products as (select * from {{ ref("stg_products") }}),

    final as (
        select
            items.order_item_id,
            items.order_id,
            {{ known_or_unknown("items.product_id") }} as product_id,
            items.quantity,
            items.unit_price,
            coalesce(items.total_price, 0) as total_price,
            cast(
                coalesce(items.quantity * products.unit_cost, 0) as decimal(12, 2)
            ) as cost,
            items._batch,
            items._revision
        from items
        left join products on items.product_id = products.product_id
    )

select *
from final

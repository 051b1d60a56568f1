{%- set recent = dbt.dateadd("day", -30, as_of()) %}
{%- set days_on_sale = dbt.datediff(
    "cast(products.launched_at as date)", as_of(), "day"
) %}

with
    -- asked for twice, so the engine keeps it: without the rates that nobody reads here
    products as (
        select
            product_id,
            stock_counted_at,
            stock_quantity,
            launched_at,
            is_active,
            unit_cost
        from {{ ref("products_enriched") }}
    ),

    lines as (select * from {{ ref("fct_order_details") }} where not is_cancelled),

    since_count as (
        select products.product_id, sum(lines.quantity) as units
        from products
        inner join
            lines
            on products.product_id = lines.product_id
            and products.stock_counted_at < lines.ordered_at
        -- the engine skips the days before the oldest count
        where
            lines.ordered_at
            > (select min(counted.stock_counted_at) from products as counted)
        group by products.product_id
    ),

    recently as (
        select product_id, sum(quantity) as units
        from lines
        where order_date >= {{ recent }}
        group by product_id
    ),

    measured as (
        select
            products.product_id,
            products.stock_counted_at,
            coalesce(products.stock_quantity, 0) as stock_counted,
            coalesce(since_count.units, 0) as units_since_count,
            greatest(
                coalesce(products.stock_quantity, 0) - coalesce(since_count.units, 0), 0
            ) as stock_on_hand,
            {{ velocity("coalesce(recently.units, 0)", days_on_sale) }}
            as daily_velocity,
            coalesce({{ days_on_sale }} <= 30, false) as is_new,
            coalesce(products.is_active, true) as is_active,
            products.unit_cost
        from products
        left join since_count on products.product_id = since_count.product_id
        left join recently on products.product_id = recently.product_id
    ),

    planned as (
        select
            *,
            {{ ratio("stock_on_hand", "daily_velocity", 1) }} as days_of_cover,
            -- what is sold in two weeks until a delivery arrives, and a week's safety
            ceil(daily_velocity * 21) as reorder_point
        from measured
    ),

    final as (
        select
            product_id,
            stock_counted_at,
            cast(stock_counted as bigint) as stock_counted,
            cast(units_since_count as bigint) as units_since_count,
            cast(stock_on_hand as bigint) as stock_on_hand,
            daily_velocity,
            days_of_cover,
            cast(reorder_point as bigint) as reorder_point,
            {{ inventory_status() }} as inventory_status,
            is_active
            and stock_on_hand <= reorder_point
            and daily_velocity > 0 as needs_reorder,
            cast(
                case
                    when is_active and stock_on_hand <= reorder_point
                    then greatest(ceil(daily_velocity * 60) - stock_on_hand, 0)
                    else 0
                end as bigint
            ) as reorder_quantity,
            cast(
                stock_on_hand * coalesce(unit_cost, 0) as decimal(18, 2)
            ) as stock_value
        from planned
    )

select *
from final

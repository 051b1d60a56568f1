{%- set recent = dbt.dateadd("day", -30, as_of()) %}
{%- set days_on_sale = dbt.datediff(
    "cast(products.launched_at as date)", as_of(), "day"
) %}

with
    products as (select * from {{ ref("products_enriched") }}),

    -- those of no product's window are skipped: neither of the last 30 days nor after
    -- the oldest count
    lines as (
        select *
        from {{ ref("fct_order_details") }}
        where
            not is_cancelled
            and ordered_at >= (
                select
                    least(coalesce(min(stock_counted_at), {{ recent }}), {{ recent }})
                from products
            )
    ),

    sold as (
        select
            products.product_id,
            sum(
                case
                    when lines.ordered_at > products.stock_counted_at
                    then lines.quantity
                    else 0
                end
            ) as units_since_count,
            sum(
                case
                    when lines.order_date >= {{ recent }} then lines.quantity else 0
                end
            ) as units_30d
        from products
        inner join lines on products.product_id = lines.product_id
        group by products.product_id
    ),

    measured as (
        select
            products.product_id,
            products.stock_counted_at,
            coalesce(products.stock_quantity, 0) as stock_counted,
            coalesce(sold.units_since_count, 0) as units_since_count,
            greatest(
                coalesce(products.stock_quantity, 0)
                - coalesce(sold.units_since_count, 0),
                0
            ) as stock_on_hand,
            {{ velocity("coalesce(sold.units_30d, 0)", days_on_sale) }}
            as daily_velocity,
            coalesce({{ days_on_sale }} <= 30, false) as is_new,
            coalesce(products.is_active, true) as is_active,
            products.unit_cost
        from products
        left join sold on products.product_id = sold.product_id
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

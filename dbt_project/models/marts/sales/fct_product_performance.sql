{%- set recent = dbt.dateadd("day", -30, as_of()) %}

with
    products as (select * from {{ ref("products_enriched") }}),

    sales as (
        select
            product_id,
            min(order_date) as first_sold_on,
            max(order_date) as last_sold_on,
            sum(orders) as orders,
            sum(units) as units,
            sum(
                case when order_date >= {{ recent }} then units else 0 end
            ) as units_30d,
            {{ sales_sums() }}
        from {{ ref("fct_sales_by_product") }}
        group by product_id
    ),

    interactions as (
        select
            product_id,
            sum(views) as views,
            sum(cart_adds) as cart_adds,
            sum(purchases) as purchases
        from {{ ref("fct_product_interactions") }}
        group by product_id
    ),

    joined as (
        select
            -- an item that names no product is one of the unknown member's
            coalesce(products.product_id, sales.product_id) as product_id,
            cast(products.launched_at as date) as launched_on,
            {{ dbt.datediff("cast(products.launched_at as date)", as_of(), "day") }}
            as days_on_sale,
            sales.first_sold_on,
            sales.last_sold_on,
            coalesce(sales.orders, 0) as orders,
            coalesce(sales.units, 0) as units,
            coalesce(sales.units_30d, 0) as units_30d,
            {{ sales_or_zero("sales") }},
            coalesce(interactions.views, 0) as views,
            coalesce(interactions.cart_adds, 0) as cart_adds,
            coalesce(interactions.purchases, 0) as purchases,
            products.rating,
            coalesce(products.review_count, 0) as review_count
        from products
        full outer join sales on products.product_id = sales.product_id
        left join interactions on products.product_id = interactions.product_id
    ),

    ranked as (
        select
            *,
            rank() over (order by gross_revenue desc) as revenue_rank,
            sum(gross_revenue) over (
                order by gross_revenue desc, product_id asc
                rows between unbounded preceding and current row
            )
            - gross_revenue as revenue_before,
            sum(gross_revenue) over () as revenue_total
        from joined
    ),

    final as (
        select
            product_id,
            launched_on,
            days_on_sale,
            first_sold_on,
            last_sold_on,
            cast(orders as bigint) as orders,
            cast(units as bigint) as units,
            cast(units_30d as bigint) as units_30d,
            {{ velocity("units_30d", "days_on_sale") }} as daily_velocity,
            {{ sales_amounts() | join(", ") }},
            {{ ratio("profit", "net_revenue") }} as profit_rate,
            cast(views as bigint) as views,
            cast(cart_adds as bigint) as cart_adds,
            cast(purchases as bigint) as purchases,
            {{ ratio("purchases", "views") }} as purchases_per_view,
            rating,
            review_count,
            revenue_rank,
            case
                when gross_revenue = 0
                then 'C'
                when revenue_before < revenue_total * 0.80
                then 'A'
                when revenue_before < revenue_total * 0.95
                then 'B'
                else 'C'
            end as abc_class
        from ranked
    )

select *
from final

with
    orders as (
        select order_id
        from {{ ref("orders") }}
        where not is_cancelled and order_date >= {{ dbt.dateadd("day", -90, as_of()) }}
    ),

    baskets as (
        select order_id, product_id
        from {{ ref("order_items") }}
        where
            order_id in (select order_id from orders) and product_id <> {{ unknown() }}
        group by order_id, product_id
    ),

    products as (
        select product_id, count(*) as orders from baskets group by product_id
    ),

    total as (select count(*) as orders from orders),

    pairs as (
        select
            a.product_id as product_id_a,
            b.product_id as product_id_b,
            count(*) as orders_together
        from baskets as a
        inner join
            baskets as b on a.order_id = b.order_id and a.product_id < b.product_id
        group by a.product_id, b.product_id
    ),

    final as (
        select
            {{ fingerprint(["pairs.product_id_a", "pairs.product_id_b"]) }} as pair_id,
            pairs.product_id_a,
            pairs.product_id_b,
            pairs.orders_together,
            a.orders as orders_a,
            b.orders as orders_b,
            total.orders,
            {{ ratio("pairs.orders_together", "total.orders", 6) }} as support,
            {{ ratio("pairs.orders_together", "a.orders", 6) }} as confidence_a_to_b,
            {{ ratio("pairs.orders_together", "b.orders", 6) }} as confidence_b_to_a,
            {{
                ratio(
                    "pairs.orders_together * total.orders", "(a.orders * b.orders)", 4
                )
            }} as lift
        from pairs
        inner join products as a on pairs.product_id_a = a.product_id
        inner join products as b on pairs.product_id_b = b.product_id
        cross join total
    )

select *
from final

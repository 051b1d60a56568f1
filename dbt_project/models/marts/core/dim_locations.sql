with
    locations as (select * from {{ ref("locations") }}),

    customers as (
        select location_id, count(*) as customers
        from {{ ref("customers_enriched") }}
        group by location_id
    ),

    sales as (
        select location_id, sum(orders) as orders, {{ sales_sums() }}
        from {{ ref("fct_sales_by_region") }}
        group by location_id
    ),

    final as (
        select
            locations.location_id,
            locations.city,
            locations.state,
            locations.country,
            locations.region,
            coalesce(customers.customers, 0) as customers,
            cast(coalesce(sales.orders, 0) as bigint) as orders,
            {{ sales_or_zero("sales") }}
        from locations
        left join customers on locations.location_id = customers.location_id
        left join sales on locations.location_id = sales.location_id
    )

select *
from final

{{ config(materialized="table") }}

with
    addresses as (select * from {{ ref("addresses") }}),

    customers as (select * from {{ ref("customers_enriched") }}),

    orders as (select * from {{ ref("orders") }}),

    places as (
        select location_id, city, state, null as country
        from addresses
        union all
        select location_id, city, state, country
        from customers
        union all
        -- where an address says nothing, the order's region is still a row
        select location_id, city, state, null as country
        from orders
    ),

    countries as (
        select lower(trim(state)) as state, min(country) as country
        from customers
        group by lower(trim(state))
    ),

    named as (
        select
            location_id, min(city) as city, min(state) as state, min(country) as country
        from places
        group by location_id
    ),

    final as (
        select
            named.location_id,
            named.city,
            named.state,
            -- an address names no country: that of the state's customers, if there
            -- are any
            coalesce(named.country, countries.country, 'Unknown') as country,
            {{ region("named.state") }} as region
        from named
        left join countries on lower(trim(named.state)) = countries.state
    )

select *
from final

{{ config(materialized="incremental", incremental_strategy="remake") }}

{%- set changed = touched_addresses() %}

with
    orders as (select * from {{ ref("stg_orders") }}),

    uses as (
        select shipping_address as address, 1 as shipped, 0 as billed
        from orders
        where
            shipping_address is not null
            {% if is_incremental() %}
                and shipping_address in ({{ changed }})
            {% endif %}
        union all
        select billing_address as address, 0 as shipped, 1 as billed
        from orders
        where
            billing_address is not null
            {% if is_incremental() %} and billing_address in ({{ changed }}) {% endif %}
    ),

    used as (
        select
            address,
            {{ address_part("address", -2) }} as city,
            {{ address_part("address", -1) }} as state,
            sum(shipped) as orders_shipped,
            sum(billed) as orders_billed
        from uses
        group by address
    ),

    final as (
        select
            {{ dbt.hash("address") }} as address_id,
            address,
            city,
            state,
            {{ location_id("city", "state") }} as location_id,
            orders_shipped,
            orders_billed
        from used
    )

select *
from final

-- of every record exactly one row of history is in force, each row begins where the
-- one before ends, and the price in
-- force is that of the current record; in a daily build, of the records that it brings
{%- set products = touched("products", "product_id", "product_id") %}
{%- set customers = touched("customers", "customer_id", "customer_id") %}

with
    history as (
        select
            product_id as id,
            'product' as kind,
            version_number,
            valid_from,
            valid_to,
            is_current,
            cast(sale_price as {{ dbt.type_string() }}) as value
        from {{ ref("dim_products_history") }}
        where product_id in ({{ products }})
        union all
        select
            customer_id as id,
            'customer' as kind,
            version_number,
            valid_from,
            valid_to,
            is_current,
            city as value
        from {{ ref("dim_customers_history") }}
        where customer_id in ({{ customers }})
    ),

    current_records as (
        select
            product_id as id,
            'product' as kind,
            cast(sale_price as {{ dbt.type_string() }}) as value
        from {{ ref("stg_products") }}
        where product_id in ({{ products }})
        union all
        select customer_id as id, 'customer' as kind, city as value
        from {{ ref("stg_customers") }}
        where customer_id in ({{ customers }})
    ),

    chained as (
        select
            *,
            lead(valid_from) over (
                partition by kind, id order by version_number
            ) as next_from
        from history
    ),

    broken as (
        select kind, id
        from chained
        where coalesce(valid_to <> next_from, next_from is not null)
    ),

    unlike as (
        select current_records.kind, current_records.id
        from current_records
        left join
            history
            on current_records.kind = history.kind
            and current_records.id = history.id
            and history.is_current
        where
            history.id is null
            or coalesce(history.value, '<null>')
            <> coalesce(current_records.value, '<null>')
    )

select *
from broken
union all
select *
from unlike

with
    products as (select * from {{ ref("stg_products") }}),

    final as (
        select
            {{ dbt.hash("brand") }} as brand_id,
            brand as brand_name,
            count(*) as products,
            sum(case when is_active then 1 else 0 end) as active_products
        from products
        where brand is not null
        group by brand
    )

select *
from final

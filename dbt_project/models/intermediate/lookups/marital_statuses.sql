with
    customers as (select * from {{ ref("stg_customers") }}),

    final as (
        select marital_status, count(*) as customers
        from customers
        where marital_status is not null
        group by marital_status
    )

select *
from final

with
    customers as (select * from {{ ref("stg_customers") }}),

    final as (
        select
            education as education_type,
            case
                education
                when 'High School'
                then 1
                when 'Some College'
                then 2
                when 'Bachelor'
                then 3
                when 'Master'
                then 4
                when 'Doctorate'
                then 5
            end as education_level,
            count(*) as customers
        from customers
        where education is not null
        group by education
    )

select *
from final

with
    orders as (select * from {{ ref("stg_orders") }}),

    final as (
        select
            payment_method,
            case
                when payment_method in ('Credit Card', 'Debit Card')
                then 'Card'
                when payment_method in ('PayPal', 'Apple Pay', 'Google Pay')
                then 'Wallet'
                when payment_method = 'Bank Transfer'
                then 'Bank'
                else 'Other'
            end as payment_kind,
            count(*) as orders
        from orders
        where payment_method is not null
        group by payment_method
    )

select *
from final

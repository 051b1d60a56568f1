with
    final as (
        select statuses.*
        from
            (
                values
                    (1, 'Pending', false, false, false),
                    (2, 'Processing', false, false, false),
                    (3, 'Shipped', false, false, false),
                    (4, 'Delivered', false, false, false),
                    (5, 'Returned', false, true, true),
                    (6, 'Cancelled', true, false, true)
            ) as statuses(step, order_status, is_cancelled, is_returned, is_final)
    )

select *
from final

{#
    Per value of the column, gross_revenue + shipping must equal total_amount over the orders that are not Cancelled,
    to the cent. Returns the values that do not. Where only a part of the model is looked at, the orders are those of it.
#}
{% test revenue_reconciles(model, column_name) %}
    with
        mart as (
            select {{ column_name }} as part, sum(gross_revenue + shipping) as amount
            from {{ model }}
            group by 1
        ),

        orders as (
            select {{ column_name }} as part, sum(total_amount) as amount
            from {{ ref("orders") }}
            where not is_cancelled and {{ tested_part() }}
            group by 1
        ),

        final as (
            select
                coalesce(mart.part, orders.part) as {{ column_name }},
                coalesce(mart.amount, 0) as gross_revenue_and_shipping,
                coalesce(orders.amount, 0) as total_amount
            from mart
            full outer join orders on mart.part = orders.part
        )

    select *
    from final
    where gross_revenue_and_shipping <> total_amount
{% endtest %}

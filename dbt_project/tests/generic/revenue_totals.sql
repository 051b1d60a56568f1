{# gross_revenue + shipping over the whole model must equal total_amount over the orders not Cancelled, to the cent. #}
{% test revenue_totals(model) %}
    with
        totals as (
            select
                (
                    select coalesce(sum(gross_revenue + shipping), 0) from {{ model }}
                ) as gross_revenue_and_shipping,
                (
                    select coalesce(sum(total_amount), 0)
                    from {{ ref("orders") }}
                    where not is_cancelled
                ) as total_amount
        )

    select *
    from totals
    where gross_revenue_and_shipping <> total_amount
{% endtest %}

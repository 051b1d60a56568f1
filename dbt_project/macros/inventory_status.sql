{# What to say of a product's stock. One that nobody bought yet in its first 30 days is no overstock. #}
{% macro inventory_status() -%}
    case
        when not is_active
        then 'Discontinued'
        when stock_on_hand = 0
        then 'Out of stock'
        when daily_velocity > 0 and stock_on_hand <= reorder_point
        then 'Reorder'
        when (daily_velocity = 0 and not is_new) or days_of_cover > 180
        then 'Overstocked'
        else 'In stock'
    end
{%- endmacro %}

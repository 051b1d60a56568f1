{#
    active through 90 days after the last order (or the signup, without one), at risk through 180, churned after that
    or when the account is closed.
#}
{% macro lifecycle_status(is_active, days_since_order, days_since_signup) -%}
    case
        when not coalesce({{ is_active }}, true)
        then 'churned'
        when coalesce({{ days_since_order }}, {{ days_since_signup }}, 0) <= 90
        then 'active'
        when coalesce({{ days_since_order }}, {{ days_since_signup }}) <= 180
        then 'at risk'
        else 'churned'
    end
{%- endmacro %}

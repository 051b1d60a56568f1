-- revenue per day, product, place, customer, order, cohort and category sums to one
-- total, as do what it cost and what
-- it earned
{%- set marts = [
    "fct_sales_by_date",
    "fct_sales_by_product",
    "fct_sales_by_region",
    "fct_customer_orders",
    "fct_cohort_retention",
    "fct_product_performance",
    "dim_customers",
    "dim_locations",
    "dim_categories",
] %}
with
    totals as (
        {% for mart in ["fct_order_details"] + marts %}
            select '{{ mart }}' as mart, {{ sales_sums() }}
            from {{ ref(mart) }} {{ "union all" if not loop.last }}
        {% endfor %}
    )

select totals.*
from totals
inner join totals as details on details.mart = 'fct_order_details'
where
    {%- for measure in sales_amounts() %}
        totals.{{ measure }} <> details.{{ measure }} {{ "or" if not loop.last }}
    {%- endfor %}

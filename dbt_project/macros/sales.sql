{# The measures of sales over rows of fct_order_details, by one name and one meaning in every mart. #}
{% macro sales_measures() -%}
    count(distinct order_id) as orders,
    cast(
        sum(case when is_cancelled then 0 else coalesce(quantity, 0) end) as bigint
    ) as units,
    {{ sales_sums() }}
{%- endmacro %}

{# The same of rows that are such sums already, those of the relation `sales` if several are joined. #}
{% macro sales_sums(sales=none) -%}
    {%- for measure in sales_amounts() %}
        cast(
            sum({{ sales ~ "." if sales }}{{ measure }}) as decimal(18, 2)
        ) as {{ measure }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# Those of the relation `sales`, 0 where it has no row. #}
{% macro sales_or_zero(sales) -%}
    {%- for measure in sales_amounts() %}
        cast(
            coalesce({{ sales }}.{{ measure }}, 0) as decimal(18, 2)
        ) as {{ measure }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro sales_amounts() -%}
    {{ return(["gross_revenue", "net_revenue", "shipping", "cost", "profit"]) }}
{%- endmacro %}

{#
    The incremental strategy `remake`, for a model whose rows are made of several records: of the rows that `remade`
    selects those in the table are deleted and those that the model selects inserted, in one transaction, so that no
    reader sees the one without the other. A merge would leave rows behind whose reason has gone. A build that dies in
    between is made good by the next, which has the same rows to make.
#}
{% macro get_incremental_remake_sql(arguments) -%}
    {%- set statements -%}
        delete from {{ arguments.target_relation }} where {{ remade(model.name) }};

        {{
            get_insert_into_sql(
                arguments.target_relation,
                arguments.temp_relation,
                arguments.dest_columns,
            )
        }}
    {%- endset -%}
    {{ return(in_one_transaction(statements)) }}
{%- endmacro %}

{% macro in_one_transaction(statements) -%}
    {{ return(adapter.dispatch("in_one_transaction")(statements)) }}
{%- endmacro %}

{# dbt-duckdb has begun one before, and commits it after the model. #}
{% macro duckdb__in_one_transaction(statements) -%}
    {{ return(statements) }}
{%- endmacro %}

{# dbt-snowflake commits each statement by itself. #}
{% macro snowflake__in_one_transaction(statements) -%}
    {{ return(snowflake_dml_explicit_transaction(statements)) }}
{%- endmacro %}

{# The rows that an increment makes anew of the model `name`, as a predicate on them and on what they are made of. #}
{% macro remade(name) -%}
    {%- if name == "addresses" -%} address in ({{ touched_addresses() }})
    {%- elif name == "sessions" -%} session_id in ({{ touched_sessions() }})
    {%- elif name == "customer_lifetimes" -%} customer_id in ({{ touched_customers() }})
    {%- elif name == "fct_customer_orders" -%}
        order_id in ({{ touched_customers_orders() }})
    {%- elif name == "fct_customer_reviews" -%} review_id in ({{ touched_reviews() }})
    {%- elif name == "dim_customers_history" -%}
        customer_id in ({{ touched("customers", "customer_id", "customer_id") }})
    {%- elif name == "dim_products_history" -%}
        product_id in ({{ touched("products", "product_id", "product_id") }})
    {%- elif name == "fct_customer_activity" -%}
        activity_date in ({{ touched_session_days() }})
    {%- elif name == "fct_conversion_funnel" -%}
        session_date in ({{ touched_session_days() }})
    {%- elif name == "fct_product_interactions" -%}
        event_date in ({{ touched_event_days() }})
    {%- elif name == "fct_sales_by_date" -%}
        order_date in ({{ touched_calendar_days() }})
    {%- elif name in ["fct_sales_by_product", "fct_sales_by_region"] -%}
        order_date in ({{ touched_order_days() }})
    {%- endif -%}
{%- endmacro %}

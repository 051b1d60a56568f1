{#
    Every generic test asks here for the rows of its model. In a daily build those of a large model are the rows that
    the build made: the ones before were tested by the build that made them, and a build that fails is not noted, so
    that its rows are tested again by the next. A full refresh, `dbt test` and a developer's target test everything.

    Whole models are compared whole (as_many_rows_as, revenue_totals), and a column without NULLs is found faster than
    the rows to look at. A `where` of the test's own holds besides.
#}
{% macro get_where_subquery(relation) -%}
    {%- set test = model.test_metadata -%}
    {%- set conditions = [config.get("where")] if config.get("where") else [] -%}
    {%- if test.name not in ["as_many_rows_as", "revenue_totals", "not_null"] -%}
        {#- by its text, since the relation is not known yet when the project is read -#}
        {%- set made = made_rows(test.kwargs.model.split("'")[1], relation, test) -%}
        {%- if made | trim and tests_increment() -%}
            {%- do conditions.append(made) -%}
        {%- endif -%}
    {%- endif -%}
    {%- if not conditions -%} {{ return(relation) }} {%- endif -%}
    {%- set where = conditions | join(" and ") -%}
    {{ return("(select * from " ~ relation ~ " where " ~ where ~ ") as tested") }}
{%- endmacro %}

{# Whether this is a test in a daily build of the pipeline's own schemas. #}
{% macro tests_increment() -%}
    {%- set is_test = model.resource_type == "test" -%}
    {{
        return(
            is_test
            and (flags.WHICH == "build" or as_increment())
            and not flags.FULL_REFRESH
            and not is_developer()
        )
    }}
{%- endmacro %}

{# The predicate of the rows that a daily build makes of a large model; none for the others. #}
{% macro made_rows(name, relation, test) -%}
    {%- set records = {
        "orders": "orders",
        "order_items": "order_items",
        "customer_interactions": "interactions",
        "reviews_enriched": "reviews",
        "customers_enriched": "customers",
    } -%}
    {%- if name in records or name.startswith("stg_") -%}
        {%- set table = records.get(name, name | replace("stg_", "")) -%}
        {%- if test.name == "unique" -%}
            {%- set key = test.kwargs.column_name -%}
            {{ return(key ~ " in (" ~ brought_keys(table, relation, key) ~ ")") }}
        {%- endif -%}
        {{ return(brought(table)) }}
    {%- endif -%}
    {#-
        A session with an event of this build has ended since the first of these: the engine skips the days before. Not
        for `unique`, which looks for a row that should have gone; a session that an event left waits for a full build.
    #}
    {%- if name == "sessions" and test.name != "unique" -%}
        {{
            return(
                remade(name) ~ " and ended_at >= (" ~ touched_events_since() ~ ")"
            )
        }}
    {%- endif -%}
    {{ return(made_keys(name)) }}
{%- endmacro %}

{% macro brought_keys(table, relation, key) -%}
    select made.{{ key }}
    from {{ relation }} as made
    where {{ brought(table, of="made") }}
{%- endmacro %}

{# The same of a model whose rows are made anew by a key; the days of fct_sales_by_date are few enough for all. #}
{% macro made_keys(name) -%}
    {%- if name == "fct_order_details" -%} order_id in ({{ touched_orders() }})
    {%- elif name != "fct_sales_by_date" -%} {{ remade(name) }}
    {%- endif -%}
{%- endmacro %}

{# For a test that compares with the orders: those of the rows that it looks at. #}
{% macro tested_part() -%}
    {%- if execute and tests_increment() -%}
        {%- set name = model.attached_node.split(".")[-1] -%}
        {{ return(made_keys(name) | trim or "true") }}
    {%- endif -%}
    {{ return("true") }}
{%- endmacro %}

{# dbt's own; by a name of ours, since dbt reads its own without looking for what `get_where_subquery` refers to. #}
{% test unique(model, column_name) %}
    {{ default__test_unique(model, column_name) }}
{% endtest %}

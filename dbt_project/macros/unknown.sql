{# The key of the unknown member of a dimension: of the customer of an order that names none, and so on. #}
{% macro unknown() -%} -1 {%- endmacro %}

{% macro known_or_unknown(key) -%} coalesce({{ key }}, {{ unknown() }}) {%- endmacro %}

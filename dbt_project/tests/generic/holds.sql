{# The rows of which `expression` is not true; NULL counts as unknown and passes. #}
{% test holds(model, expression) %}
    select * from {{ model }} where not ({{ expression }})
{% endtest %}

{#
    For a model that appends: as a pre-hook, removes the rows that the build makes anew, those with `column` among
    `keys`. A merge would leave rows behind whose reason has gone; a build that dies in between is made good by the
    next, which has the same keys to make. `also` is a predicate that all of those rows fulfil, on a column by which
    the engine can skip most of the others.
#}
{% macro forget(column, keys, also="true") -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ column }} in ({{ keys }}) and {{ also }}
    {%- endif -%}
{%- endmacro %}

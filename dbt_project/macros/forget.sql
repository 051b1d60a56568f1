{#
    For a model that appends: as a pre-hook, removes the rows that the build makes anew, those with `column` among
    `keys`. A merge would leave rows behind whose reason has gone; a build that dies in between is made good by the
    next, which has the same keys to make.
#}
{% macro forget(column, keys) -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ column }} in ({{ keys }})
    {%- endif -%}
{%- endmacro %}

{#
    Predicate on `_batch` and `_revision`: the rows of this build, of raw or of a staging model alike.

    In a full build these are all rows before `as_of`. In an increment they are the rows of the revisions that the
    ledger `raw._batches` knows and `raw._built` lacks, that is, those no complete green build has processed. Staging
    rows keep the `_batch` and `_revision` of their version, so the staging rows that changed are those of the same
    revisions, and a build that failed half-way is made good by the next one. Of orders there are, besides, the
    revisions of which some waited for this cut (ordered_at.sql). The semi-join lets the engine skip the files of all
    other batches. `raw._built` speaks of the pipeline's own schemas: a developer's target takes every revision each
    time. `of` is the relation whose columns are meant, where several have them.
#}
{% macro unbuilt(table, of=none) -%}
    {%- set newly = brought(table, of) -%}
    {{ of ~ "." if of }}_batch < {{ as_of() }}
    {%- if (is_incremental() and not is_developer()) or tests_increment() %}
        and {{ newly }}
    {%- endif %}
{%- endmacro %}

{# The rows of revisions that are loaded and that no complete build has processed. #}
{% macro brought(table, of=none) -%}
    {%- set of = of ~ "." if of else "" -%}
    {%- set ledger = source("raw", "_batches") -%}
    {%- set built = source("raw", "_built") -%}
    {%- set of_table = adapter.quote("table") ~ " = '" ~ table ~ "'" -%}
    ({{ of }}_batch, {{ of }}_revision) in (
        select batch, revision
        from {{ ledger }}
        where {{ of_table }} and batch < {{ as_of() }}
        except
        select batch, revision
        from {{ built }}
        where {{ of_table }}
        {%- if table == "orders" %}
            union
            {{ waited_orders() }}
        {%- endif %}
    )
{%- endmacro %}

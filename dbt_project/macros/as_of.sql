{#
    The midnight that ends the cut, as a date: models see the batches before it and nothing else.

    The pipeline passes the var `as_of` (ISO date). Without it the cut ends with the newest day that every table has
    loaded, read from the ledger, so that a build by hand never mixes a table of today with one of yesterday.
#}
{% macro as_of() -%}
    {%- set ledger = source("raw", "_batches") -%}
    {%- set given = var("as_of", none) or newest_common_day_end(ledger) -%}
    cast('{{ modules.datetime.date.fromisoformat(given | string) }}' as date)
{%- endmacro %}

{% macro newest_common_day_end(ledger) -%}
    {%- if not execute -%} {{ return("1970-01-01") }} {%- endif -%}
    {%- set newest = {} -%}
    {%- set query -%}
        select {{ adapter.quote("table") }}, max(batch) from {{ ledger }} group by 1
    {%- endset -%}
    {%- for row in run_query(query).rows -%}
        {%- do newest.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {%- for table in raw_tables() if table not in newest -%}
        {%- set advice = "load it, or pass --vars 'as_of: YYYY-MM-DD'" -%}
        {%- set message = "raw." ~ table ~ " was never loaded: " ~ advice -%}
        {%- do exceptions.raise_compiler_error(message) -%}
    {%- endfor -%}
    {{ return(newest.values() | min + modules.datetime.timedelta(days=1)) }}
{%- endmacro %}

{# The shop's tables: every source of raw but the ledgers. #}
{% macro raw_tables() -%}
    {%- set raw = graph.sources.values() | selectattr("schema", "eq", "raw") -%}
    {%- set ledgers = ["_batches", "_built"] -%}
    {{ return(raw | map(attribute="name") | reject("in", ledgers) | list) }}
{%- endmacro %}

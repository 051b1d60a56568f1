{#
    The midnight that ends the cut, as a date: models see the batches before it and nothing else.

    The pipeline passes the var `as_of` (ISO date). Without it the cut ends with the newest day that every table has
    loaded, read from the ledger, so that a build by hand never mixes a table of today with one of yesterday.
#}
{% macro as_of() -%}
    {%- set given = var("as_of", none) or newest_common_day_end() -%}
    cast('{{ modules.datetime.date.fromisoformat(given | string) }}' as date)
{%- endmacro %}

{# A table may lack a day that the others have, the one on which it failed: the newest day that none lacks. #}
{% macro newest_common_day_end() -%}
    {%- set ledger = source("raw", "_batches") -%}
    {%- if not execute -%} {{ return("1970-01-01") }} {%- endif -%}
    {%- set tables = raw_tables() -%}
    {%- set of_table = adapter.quote("table") -%}
    {%- set query -%}
        select max(batch)
        from
            (
                select batch
                from {{ ledger }}
                where {{ of_table }} in ('{{ tables | join("', '") }}')
                group by batch
                having count(distinct {{ of_table }}) = {{ tables | length }}
            ) as common
    {%- endset -%}
    {%- set newest = run_query(query).rows[0][0] -%}
    {%- if newest is none -%} {{ no_common_day(ledger, tables) }} {%- endif -%}
    {{ return(newest + modules.datetime.timedelta(days=1)) }}
{%- endmacro %}

{% macro no_common_day(ledger, tables) -%}
    {%- set query -%}
        select distinct {{ adapter.quote("table") }} from {{ ledger }}
    {%- endset -%}
    {%- set missing = tables | reject("in", run_query(query).columns[0].values()) -%}
    {%- set advice = "load it, or pass --vars 'as_of: YYYY-MM-DD'" -%}
    {%- for table in missing -%}
        {%- set message = "raw." ~ table ~ " was never loaded: " ~ advice -%}
        {%- do exceptions.raise_compiler_error(message) -%}
    {%- endfor -%}
    {%- do exceptions.raise_compiler_error(
        "no day is loaded in all tables of raw: run historical_load"
    ) -%}
{%- endmacro %}

{# For the staging model of a table: an error if a cut that was given takes days of other tables that this one lacks. #}
{% macro check_cut(table) -%}
    {%- if execute and var("as_of", none) and builds_model() -%}
        {%- set query -%}
            select max(case when {{ adapter.quote("table") }} = '{{ table }}' then batch end), max(batch)
            from {{ source("raw", "_batches") }}
            where batch < {{ as_of() }}
        {%- endset -%}
        {%- set own, newest = run_query(query).rows[0].values() -%}
        {%- if own != newest -%}
            {%- do exceptions.raise_compiler_error(
                "raw."
                ~ table
                ~ " lacks the batch of "
                ~ newest
                ~ ", which other tables have: load it, or choose an as_of at which all tables end with one day"
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro builds_model() -%}
    {{ return(flags.WHICH in ["build", "run"] and model.resource_type == "model") }}
{%- endmacro %}

{# The shop's tables: every source of raw but the ledgers. #}
{% macro raw_tables() -%}
    {%- set raw = graph.sources.values() | selectattr("schema", "eq", "raw") -%}
    {%- set ledgers = ["_batches", "_built"] -%}
    {{ return(raw | map(attribute="name") | reject("in", ledgers) | list) }}
{%- endmacro %}

{# Nothing dropped, nothing doubled: the model has as many rows as the model `of`. #}
{% test as_many_rows_as(model, of) %}
    with
        counts as (
            select
                (select count(*) from {{ model }}) as rows_here,
                (select count(*) from {{ of }}) as rows_there
        )

    select *
    from counts
    where rows_here <> rows_there
{% endtest %}

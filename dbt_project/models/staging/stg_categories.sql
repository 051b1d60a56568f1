{{ config(unique_key="category_id") }}

with
    versions as (
        select
            category_id,
            category_name,
            created_at,
            updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "categories") }}
        where {{ unbuilt("categories") }}
    ),

    final as ({{ current_records("versions", key="category_id") }})

select *
from final
order by _cursor

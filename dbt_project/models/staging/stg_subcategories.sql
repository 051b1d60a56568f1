{{ config(unique_key="subcategory_id") }}

with
    versions as (
        select
            subcategory_id,
            category_id,
            subcategory_name,
            created_at,
            updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "subcategories") }}
        where {{ unbuilt("subcategories") }}
    ),

    final as ({{ current_records("versions", key="subcategory_id") }})

select *
from final
order by _cursor

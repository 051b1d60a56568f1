{{ config(unique_key="customer_id") }}

with
    versions as (
        select
            customer_id,
            email,
            first_name,
            last_name,
            age,
            gender,
            annual_income,
            marital_status,
            education,
            location_type,
            city,
            state,
            country,
            cast({{ instant("signup_date") }} as date) as signup_date,
            {{ instant("last_login") }} as last_login,
            preferred_channel,
            is_active,
            {{ instant("created_at") }} as created_at,
            {{ instant("updated_at") }} as updated_at,
            _cursor,
            _batch,
            _revision,
            _version
        from {{ source("raw", "customers") }}
        where {{ unbuilt("customers") }}
    ),

    final as ({{ current_records("versions", key="customer_id") }})

select *
from final
order by _cursor

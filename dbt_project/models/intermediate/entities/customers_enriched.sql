{{ config(materialized="incremental", unique_key="customer_id") }}

with
    customers as (
        select * from {{ ref("stg_customers") }} where {{ unbuilt("customers") }}
    ),

    placed as (
        select
            *,
            coalesce(nullif(trim(city), ''), 'Unknown') as known_city,
            coalesce(nullif(trim(state), ''), 'Unknown') as known_state
        from customers
    ),

    final as (
        select
            customer_id,
            email,
            first_name,
            last_name,
            age as age_at_signup,
            case
                when age < 25
                then 'under 25'
                when age < 35
                then '25-34'
                when age < 50
                then '35-49'
                when age < 65
                then '50-64'
                when age >= 65
                then '65 and over'
            end as age_band,
            gender,
            annual_income,
            marital_status,
            education,
            {{ location_id("known_city", "known_state") }} as location_id,
            location_type,
            known_city as city,
            known_state as state,
            country,
            preferred_channel,
            is_active,
            signup_date,
            last_login,
            _batch,
            _revision
        from placed
    )

select *
from final

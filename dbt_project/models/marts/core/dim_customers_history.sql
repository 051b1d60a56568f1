{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ forget('customer_id', touched('customers', 'customer_id', 'customer_id')) }}",
    )
}}

{%- set tracked = [
    "email",
    "first_name",
    "last_name",
    "age",
    "gender",
    "annual_income",
    "marital_status",
    "education",
    "location_type",
    "city",
    "state",
    "country",
    "signup_date",
    "preferred_channel",
    "is_active",
] %}

{{ history("customers", "customer_id", tracked) }}

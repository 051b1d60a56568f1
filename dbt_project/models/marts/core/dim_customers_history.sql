{{ config(materialized="incremental", incremental_strategy="remake") }}

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

{#- a feed may spell a date in several ways: it is compared as what it means -#}
{%- set meant = {"signup_date": "cast(" ~ instant("signup_date") ~ " as date)"} %}

{{ history("customers", "customer_id", tracked, meant) }}

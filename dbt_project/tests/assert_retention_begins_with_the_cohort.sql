-- in its first month a cohort is whole, and the cohorts together are the customers
-- who ordered
with
    cohorts as (
        select cohort_month, cohort_size, customers
        from {{ ref("fct_cohort_retention") }}
        where months_since = 0
    ),

    sizes as (
        select
            sum(cohort_size) as cohort_size,
            sum(customers) as customers,
            sum(case when cohort_size <> customers then 1 else 0 end) as incomplete,
            (
                select count(distinct customer_id) from {{ ref("fct_customer_orders") }}
            ) as customers_who_ordered
        from cohorts
    )

select *
from sizes
where incomplete > 0 or cohort_size <> customers_who_ordered

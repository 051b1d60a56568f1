-- the first links of a chart add up to all that it is about: the revenue of every day,
-- and the sessions of the last 90 days
with
    products as (
        select 'products' as chart, sum(value) as shown
        from {{ ref("product_hierarchy_sankey") }}
        where level = 1
    ),

    revenue as (select sum(gross_revenue) as whole from {{ ref("fct_sales_by_date") }}),

    journey as (
        select 'journey' as chart, sum(value) as shown
        from {{ ref("customer_journey_sankey") }}
        where step = 1
    ),

    sessions as (
        select count(*) as whole
        from {{ ref("sessions") }}
        where session_date >= {{ dbt.dateadd("day", -90, as_of()) }}
    ),

    compared as (
        select products.chart, products.shown, revenue.whole
        from products
        cross join revenue
        union all
        select journey.chart, journey.shown, sessions.whole
        from journey
        cross join sessions
    )

select *
from compared
where coalesce(shown, 0) <> coalesce(whole, 0)

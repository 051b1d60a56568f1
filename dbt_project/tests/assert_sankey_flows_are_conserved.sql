-- what flows into a stage flows out of it: revenue through the products' hierarchy,
-- sessions through their stages
with
    links as (
        select 'products' as chart, level as step, source, target, value
        from {{ ref("product_hierarchy_sankey") }}
        union all
        select 'journey' as chart, step, source, target, value
        from {{ ref("customer_journey_sankey") }}
    ),

    leaving as (
        select chart, step, source as node, sum(value) as value
        from links
        where step > 1
        group by 1, 2, 3
    ),

    arriving as (
        select chart, step + 1 as step, target as node, sum(value) as value
        from links
        where target not in ('end', 'more') and (chart <> 'products' or step < 3)
        group by 1, 2, 3
    )

select
    coalesce(leaving.chart, arriving.chart) as chart,
    coalesce(leaving.node, arriving.node) as node
from leaving
full outer join
    arriving
    on leaving.chart = arriving.chart
    and leaving.step = arriving.step
    and leaving.node = arriving.node
where coalesce(leaving.value, 0) <> coalesce(arriving.value, 0)

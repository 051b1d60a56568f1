with
    products as (select * from {{ ref("products_enriched") }}),

    sales as (select * from {{ ref("fct_product_performance") }}),

    leaves as (
        select
            coalesce(products.category_name, 'No category') as category,
            coalesce(products.subcategory_name, 'No subcategory') as subcategory,
            'Class ' || sales.abc_class as abc_class,
            sales.gross_revenue,
            sales.units
        from sales
        left join products on sales.product_id = products.product_id
        where sales.gross_revenue > 0
    ),

    links as (
        select
            1 as level,
            'All products' as source,
            category as target,
            gross_revenue,
            units
        from leaves
        union all
        select
            2 as level,
            category as source,
            category || ' / ' || subcategory as target,
            gross_revenue,
            units
        from leaves
        union all
        select
            3 as level,
            category || ' / ' || subcategory as source,
            abc_class as target,
            gross_revenue,
            units
        from leaves
    ),

    final as (
        select
            {{ fingerprint(["level", "source", "target"]) }} as link_id,
            cast(level as bigint) as level,
            source,
            target,
            cast(sum(gross_revenue) as decimal(18, 2)) as value,
            cast(sum(units) as bigint) as units
        from links
        group by level, source, target
    )

select *
from final

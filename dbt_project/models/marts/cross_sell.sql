with

pairs as (
    select * from {{ ref('stg_warehouse__product_pair') }}
    where position is not null
),

products as (
    select
        stock_code,
        description,
        category
    from {{ ref('stg_warehouse__dim_product') }}
    where is_current
),

described as (
    select
        pairs.stock_code,
        pairs.position,
        products.description,
        pairs.other_stock_code as suggested_stock_code,
        suggested.description as suggested_description,
        suggested.category as suggested_category,
        pairs.as_of_date,
        pairs.pair_count,
        round(pairs.support_pct::numeric, 4)::numeric(18, 4) as support_pct,
        round(pairs.confidence_pct::numeric, 4)::numeric(18, 4) as confidence_pct,
        round(pairs.lift::numeric, 4)::numeric(18, 4) as lift
    from pairs
    inner join products on pairs.stock_code = products.stock_code
    inner join products as suggested on pairs.other_stock_code = suggested.stock_code
)

select * from described

with

source as (
    select * from {{ source('warehouse', 'dim_product') }}
),

-- Collation C: the same order on every server, and several times faster to sort.
renamed as (
    select
        product_key,
        stock_code collate "C" as stock_code,
        description,
        category,
        subcategory,
        brand,
        product_family,
        unit_cost,
        recommended_price,
        valid_from,
        valid_to,
        is_current,
        version
    from source
)

select * from renamed

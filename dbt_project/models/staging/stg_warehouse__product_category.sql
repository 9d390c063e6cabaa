with

source as (
    select * from {{ source('warehouse', 'product_category') }}
),

renamed as (
    select
        description,
        category,
        subcategory,
        category_confidence,
        is_labelled,
        brand,
        product_family
    from source
)

select * from renamed

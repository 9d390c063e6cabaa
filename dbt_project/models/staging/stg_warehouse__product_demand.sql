with

source as (
    select * from {{ source('warehouse', 'product_demand') }}
),

renamed as (
    select
        stock_code,
        as_of_date,
        net_revenue,
        revenue_rank,
        revenue_share_pct,
        abc_class,
        sold_unit_count,
        sold_amount,
        returned_unit_count,
        returned_amount,
        unmatched_unit_count,
        unmatched_amount,
        unit_return_rate_pct,
        amount_return_rate_pct,
        observed_months,
        sold_months,
        mean_monthly_units,
        unit_variation,
        xyz_class,
        abc_xyz_class
    from source
)

select * from renamed

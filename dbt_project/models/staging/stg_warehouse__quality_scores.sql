with

source as (
    select * from {{ source('warehouse', 'quality_scores') }}
),

renamed as (
    select
        table_name,
        sale_date,
        completeness_score,
        accuracy_score,
        consistency_score,
        timeliness_score,
        uniqueness_score,
        validity_score,
        total_score,
        basis_pct,
        warning_count,
        missing_values,
        required_values,
        outlier_values,
        judged_values,
        unrelated_values,
        related_values,
        duplicate_rows,
        identified_rows,
        invalid_rows,
        checked_rows,
        delivery_hours
    from source
)

select * from renamed

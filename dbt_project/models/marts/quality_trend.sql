with

scores as (
    select * from {{ ref('stg_warehouse__quality_scores') }}
),

-- Days of the calendar, not rows: a shop is closed on some days.
averaged as (
    select
        *,
        lag(total_score) over (partition by table_name order by sale_date) as previous_total_score,
        avg(total_score) over last_7_days as last_7_days_score,
        avg(total_score) over the_7_days_before as previous_7_days_score,
        avg(total_score) over last_28_days as last_28_days_score,
        sum(warning_count) over last_28_days as last_28_days_warning_count
    from scores
    window
        last_7_days as (
            partition by table_name order by sale_date
            range between interval '6 days' preceding and current row
        ),
        the_7_days_before as (
            partition by table_name order by sale_date
            range between interval '13 days' preceding and interval '7 days' preceding
        ),
        last_28_days as (
            partition by table_name order by sale_date
            range between interval '27 days' preceding and current row
        )
),

compared as (
    select
        table_name,
        sale_date,
        total_score,
        completeness_score,
        accuracy_score,
        consistency_score,
        timeliness_score,
        uniqueness_score,
        validity_score,
        basis_pct,
        warning_count,
        (total_score - previous_total_score)::numeric(9, 4) as total_change,
        last_7_days_score::numeric(9, 4) as last_7_days_score,
        (last_7_days_score - previous_7_days_score)::numeric(9, 4) as last_7_days_change,
        last_28_days_score::numeric(9, 4) as last_28_days_score,
        last_28_days_warning_count::bigint as last_28_days_warning_count
    from averaged
)

select * from compared

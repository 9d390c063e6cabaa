-- Every scored day is in the trend once, with its own total; no mean is outside the scores of its days.
{{ config(meta={'dagster': {'ref': {'name': 'quality_trend'}}}) }}

select
    table_name,
    sale_date,
    scores.total_score as scored,
    trend.total_score as shown
from {{ ref('stg_warehouse__quality_scores') }} as scores
full outer join {{ ref('quality_trend') }} as trend using (table_name, sale_date)
where
    scores.warning_count is distinct from trend.warning_count
    or scores.total_score is distinct from trend.total_score
    or trend.last_28_days_score not between 0 and 100
    or trend.last_28_days_warning_count < trend.warning_count

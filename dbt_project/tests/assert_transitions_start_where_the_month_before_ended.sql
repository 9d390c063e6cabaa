{{ config(meta={'dagster': {'ref': {'name': 'segment_transitions'}}}) }}

-- As many customers leave a segment in a month (or stay) as were in it at the close before.
with

left_it as (
    select
        sale_month,
        from_segment as rfm_segment,
        sum(customer_count) as customer_count
    from {{ ref('segment_transitions') }}
    where from_segment != 'Not Yet a Customer'
    group by sale_month, from_segment
),

were_in_it as (
    select
        (sale_month + interval '1 month')::date as sale_month,
        to_segment as rfm_segment,
        sum(customer_count) as customer_count
    from {{ ref('segment_transitions') }}
    where sale_month < (select max(newest.sale_month) from {{ ref('segment_transitions') }} as newest)
    group by sale_month, to_segment
)

select
    sale_month,
    rfm_segment,
    left_it.customer_count as left_count,
    were_in_it.customer_count as were_in_count
from left_it
full outer join were_in_it using (sale_month, rfm_segment)
where left_it.customer_count is distinct from were_in_it.customer_count

{{ config(meta={'dagster': {'ref': {'name': 'daily_sales'}}}) }}

-- Every day of the fact table is in daily_sales with the same lines and amounts, and no other day is: also shows a day
-- that was loaded after a run that never got as far as replacing it.
with

facts as (
    select
        sale_date,
        count(*) as line_count,
        sum(total_amount) as net_revenue,
        {{ whole_sum('total_amount_eur') }} as net_revenue_eur,
        {{ whole_sum('total_amount_usd') }} as net_revenue_usd
    from {{ ref('stg_warehouse__fact_sale') }}
    group by sale_date
)

select
    sale_date,
    facts.line_count as expected_line_count,
    daily_sales.line_count,
    facts.net_revenue as expected_net_revenue,
    daily_sales.net_revenue,
    facts.net_revenue_eur as expected_net_revenue_eur,
    daily_sales.net_revenue_eur
from facts
full join {{ ref('daily_sales') }} as daily_sales using (sale_date)
where
    (facts.line_count, facts.net_revenue, facts.net_revenue_eur, facts.net_revenue_usd)
    is distinct from (
        daily_sales.line_count, daily_sales.net_revenue, daily_sales.net_revenue_eur, daily_sales.net_revenue_usd
    )

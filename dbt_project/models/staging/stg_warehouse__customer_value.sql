with

source as (
    select * from {{ source('warehouse', 'customer_value') }}
),

renamed as (
    select
        customer_id,
        as_of_date,
        order_days,
        first_order_date,
        last_order_date,
        mean_order_value,
        probability_alive,
        churn_probability,
        expected_orders_90d,
        expected_order_value,
        predicted_value_12m,
        historical_value,
        holdout_churn_probability,
        holdout_expected_orders,
        holdout_order_days,
        holdout_expected_value,
        holdout_value
    from source
)

select * from renamed

{{ config(
    materialized='by_file',
    partition_by='file_month',
    counted_by='trips',
    unique_key=['service_type', 'pickup_date', 'pickup_hour', 'rejection_reason']
) }}

with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

-- Rejected trips are one row a reason and month: nothing of theirs is to be believed, their day and hour neither.
placed as (
    select
        *,
        case when rejection_reason is null then pickup_date else file_month end as known_date,
        case when rejection_reason is null then pickup_hour else 0 end as known_hour,
        coalesce(rejection_reason, 'accepted') as known_reason
    from trips
),

final as (
    select
        file_month,
        source_sha256,
        service_type,
        known_date as pickup_date,
        cast(known_hour as integer) as pickup_hour,
        known_reason as rejection_reason,
        count(*) as trips,
        cast(sum(coalesce(passenger_count, 0)) as bigint) as passengers,
        {{ total('trip_distance') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        {{ total('tip_amount') }} as tip_amount,
        {{ total('tolls_amount') }} as tolls_amount,
        {{ total(surcharges()) }} as surcharge_amount,
        {{ total('total_amount') }} as total_amount,
        cast(coalesce(sum(duration_seconds), 0) as bigint) as duration_seconds,
        count(case when payment_type_id = {{ var('card_payment_type_id') }} then 1 end) as card_trips
    from placed
    group by file_month, source_sha256, service_type, known_date, known_hour, known_reason
)

select * from final

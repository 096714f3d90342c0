with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

sums as (
    select
        service_type,
        pickup_date,
        count(*) as trips,
        cast(sum(coalesce(passenger_count, 0)) as bigint) as passengers,
        {{ total('trip_distance') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        {{ total('tip_amount') }} as tip_amount,
        {{ total('tolls_amount') }} as tolls_amount,
        {{ total('total_amount') }} as total_amount,
        cast(sum(duration_seconds) as bigint) as duration_seconds,
        count(case when payment_type_id = {{ var('card_payment_type_id') }} then 1 end) as card_trips
    from trips
    where rejection_reason is null
    group by service_type, pickup_date
),

final as (
    select
        service_type,
        pickup_date,
        trips,
        passengers,
        distance_miles,
        fare_amount,
        tip_amount,
        tolls_amount,
        total_amount,
        {{ ratio('distance_miles', 'trips') }} as avg_distance_miles,
        {{ ratio('duration_seconds', 'trips * 60') }} as avg_duration_minutes,
        {{ ratio('total_amount', 'trips') }} as avg_total_amount,
        {{ ratio('card_trips', 'trips') }} as card_share
    from sums
)

select * from final

with

hours as (
    select * from {{ ref('int_trips_by_hour') }}
),

sums as (
    select
        service_type,
        pickup_date,
        cast(sum(trips) as bigint) as trips,
        cast(sum(passengers) as bigint) as passengers,
        {{ total('distance_miles') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        {{ total('tip_amount') }} as tip_amount,
        {{ total('tolls_amount') }} as tolls_amount,
        {{ total('total_amount') }} as total_amount,
        cast(sum(duration_seconds) as bigint) as duration_seconds,
        cast(sum(card_trips) as bigint) as card_trips
    from hours
    where rejection_reason = 'accepted'
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

with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

zones as (
    select * from {{ ref('dim_zones') }}
),

located as (
    select
        service_type,
        coalesce(pickup_location_id, {{ var('unknown_zone_id') }}) as pickup_location_id,
        coalesce(dropoff_location_id, {{ var('unknown_zone_id') }}) as dropoff_location_id,
        trip_distance,
        duration_seconds,
        fare_amount
    from trips
    where rejection_reason is null
),

pairs as (
    select
        service_type,
        pickup_location_id,
        dropoff_location_id,
        count(*) as trips,
        min(trip_distance) as min_distance_miles,
        max(trip_distance) as max_distance_miles,
        {{ total('trip_distance') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        cast(sum(duration_seconds) as bigint) as duration_seconds
    from located
    group by service_type, pickup_location_id, dropoff_location_id
),

final as (
    select
        pairs.service_type,
        pairs.pickup_location_id,
        pairs.dropoff_location_id,
        pairs.trips,
        pairs.min_distance_miles,
        pairs.max_distance_miles,
        {{ ratio('pairs.distance_miles', 'pairs.trips') }} as avg_distance_miles,
        {{ ratio('pairs.duration_seconds', 'pairs.trips * 60') }} as avg_duration_minutes,
        {{ ratio('pairs.distance_miles * 3600', 'pairs.duration_seconds') }} as avg_speed_mph,
        {{ ratio('pairs.fare_amount', 'pairs.trips') }} as avg_fare_amount,
        {{ ratio('pairs.fare_amount', 'pairs.distance_miles') }} as fare_per_mile,
        pickup_zones.zone as pickup_zone,
        pickup_zones.borough as pickup_borough,
        dropoff_zones.zone as dropoff_zone,
        dropoff_zones.borough as dropoff_borough
    from pairs
    left join zones as pickup_zones on pairs.pickup_location_id = pickup_zones.location_id
    left join zones as dropoff_zones on pairs.dropoff_location_id = dropoff_zones.location_id
)

select * from final

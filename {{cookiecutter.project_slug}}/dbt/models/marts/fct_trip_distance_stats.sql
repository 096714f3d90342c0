with

routes as (
    select * from {{ ref('int_trips_by_route') }}
),

zones as (
    select * from {{ ref('dim_zones') }}
),

pairs as (
    select
        service_type,
        pickup_location_id,
        dropoff_location_id,
        cast(sum(trips) as bigint) as trips,
        min(min_distance_miles) as min_distance_miles,
        max(max_distance_miles) as max_distance_miles,
        {{ total('distance_miles') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        cast(sum(duration_seconds) as bigint) as duration_seconds
    from routes
    where rejection_reason = 'accepted'
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

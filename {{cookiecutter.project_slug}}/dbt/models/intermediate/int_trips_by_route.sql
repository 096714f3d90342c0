{{ config(
    materialized='by_file',
    partition_by='file_month',
    counted_by='trips',
    unique_key=['service_type', 'pickup_location_id', 'dropoff_location_id', 'rejection_reason']
) }}

with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

-- Rejected trips are one row a reason and month, between unknown zones.
placed as (
    select
        *,
        case when rejection_reason is null then pickup_location_id end as known_pickup,
        case when rejection_reason is null then dropoff_location_id end as known_dropoff
    from trips
),

final as (
    select
        file_month,
        source_sha256,
        service_type,
        coalesce(known_pickup, {{ var('unknown_zone_id') }}) as pickup_location_id,
        coalesce(known_dropoff, {{ var('unknown_zone_id') }}) as dropoff_location_id,
        coalesce(rejection_reason, 'accepted') as rejection_reason,
        count(*) as trips,
        min(trip_distance) as min_distance_miles,
        max(trip_distance) as max_distance_miles,
        {{ total('trip_distance') }} as distance_miles,
        {{ total('fare_amount') }} as fare_amount,
        cast(coalesce(sum(duration_seconds), 0) as bigint) as duration_seconds
    from placed
    group by
        file_month,
        source_sha256,
        service_type,
        coalesce(known_pickup, {{ var('unknown_zone_id') }}),
        coalesce(known_dropoff, {{ var('unknown_zone_id') }}),
        coalesce(rejection_reason, 'accepted')
)

select * from final

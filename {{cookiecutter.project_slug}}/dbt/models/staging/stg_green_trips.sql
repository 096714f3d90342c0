{{ config(partition_by='file_month') }}

with

trips as (
    select * from {{ source('raw', 'green_trips') }}
),

conformed as (
    select
        -- the row and its file
        trips.file_month,
        trips.file_row,
        trips.source_sha256,

        -- times
        trips.pickup_datetime as pickup_at,
        trips.dropoff_datetime as dropoff_at,
        cast(trips.pickup_datetime as date) as pickup_date,
        cast(extract(hour from trips.pickup_datetime) as integer) as pickup_hour,
        {{ seconds_between('trips.pickup_datetime', 'trips.dropoff_datetime') }} as duration_seconds,

        -- codes
        trips.vendor_id,
        trips.rate_code_id,
        trips.payment_type as payment_type_id,
        trips.trip_type as trip_type_id,

        -- places
        trips.pu_location_id as pickup_location_id,
        trips.do_location_id as dropoff_location_id,

        -- counts, distances and amounts
        trips.passenger_count,
        {{ exact('trips.trip_distance') }} as trip_distance,
        {{ exact('trips.fare_amount') }} as fare_amount,
        {{ exact('trips.extra') }} as extra_amount,
        {{ exact('trips.mta_tax') }} as mta_tax,
        {{ exact('trips.tip_amount') }} as tip_amount,
        {{ exact('trips.tolls_amount') }} as tolls_amount,
        {{ exact('trips.improvement_surcharge') }} as improvement_surcharge,
        {{ exact('trips.congestion_surcharge') }} as congestion_surcharge,
        cast(null as decimal(12, 2)) as airport_fee,
        {{ exact('trips.cbd_congestion_fee') }} as cbd_congestion_fee,
        {{ exact('trips.ehail_fee') }} as ehail_fee,
        {{ exact('trips.total_amount') }} as total_amount,

        -- yes or no
        {{ is_yes('trips.store_and_fwd_flag') }} as is_store_and_forward,
        false as has_coordinates
    from trips
),

final as (
    select
        *,
        {{ is_airport_trip() }} as is_airport_trip,
        {{ rejection_reason() }} as rejection_reason
    from conformed
)

select * from final

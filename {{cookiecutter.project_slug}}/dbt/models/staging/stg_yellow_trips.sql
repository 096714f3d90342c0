{{ config(partition_by='file_month') }}

with

trips as (
    select * from {{ source('raw', 'yellow_trips') }}
),

vendor_texts as (
    select * from {{ ref('vendor_texts') }}
),

payment_type_texts as (
    select * from {{ ref('payment_type_texts') }}
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
        coalesce(trips.vendor_id, vendor_texts.vendor_id) as vendor_id,
        trips.rate_code_id,
        coalesce(trips.payment_type, payment_type_texts.payment_type_id) as payment_type_id,

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
        {{ exact('trips.airport_fee') }} as airport_fee,
        {{ exact('trips.cbd_congestion_fee') }} as cbd_congestion_fee,
        {{ exact('trips.total_amount') }} as total_amount,

        -- yes or no
        {{ is_yes('trips.store_and_fwd_flag') }} as is_store_and_forward,
        coalesce(
            trips.pickup_longitude, trips.pickup_latitude, trips.dropoff_longitude, trips.dropoff_latitude
        ) is not null as has_coordinates
    from trips
    left join vendor_texts on upper(trim(trips.vendor_name)) = vendor_texts.vendor_text
    left join payment_type_texts on lower(trim(trips.payment_type_name)) = payment_type_texts.payment_type_text
),

final as (
    select
        *,
        {{ is_airport_trip() }} as is_airport_trip,
        {{ rejection_reason() }} as rejection_reason
    from conformed
)

select * from final

with

yellow as (
    select * from {{ ref('stg_yellow_trips') }}
),

green as (
    select * from {{ ref('stg_green_trips') }}
),

{% set shared -%}
        file_month,
        file_row,
        pickup_at,
        dropoff_at,
        pickup_date,
        pickup_hour,
        duration_seconds,
        vendor_id,
        rate_code_id,
        payment_type_id,
        pickup_location_id,
        dropoff_location_id,
        passenger_count,
        trip_distance,
        fare_amount,
        extra_amount,
        mta_tax,
        tip_amount,
        tolls_amount,
        improvement_surcharge,
        congestion_surcharge,
        airport_fee,
        cbd_congestion_fee,
        total_amount,
        is_store_and_forward,
        is_airport_trip,
        rejection_reason
{%- endset -%}

final as (
    select
        'yellow' as service_type,
        cast(null as bigint) as trip_type_id,
        cast(null as decimal(12, 2)) as ehail_fee,
        {{ shared }}
    from yellow

    union all

    select
        'green' as service_type,
        trip_type_id,
        ehail_fee,
        {{ shared }}
    from green
)

select * from final

with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

final as (
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
        {{ ratio('sum(trip_distance)', 'count(*)') }} as avg_distance_miles,
        {{ ratio('sum(duration_seconds)', 'count(*) * 60') }} as avg_duration_minutes,
        {{ ratio('sum(total_amount)', 'count(*)') }} as avg_total_amount,
        {{ ratio('count(case when payment_type_id = ' ~ var('card_payment_type_id') ~ ' then 1 end)', 'count(*)') }}
            as card_share
    from trips
    where rejection_reason is null
    group by service_type, pickup_date
)

select * from final

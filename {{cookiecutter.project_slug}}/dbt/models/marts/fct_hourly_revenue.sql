with

hours as (
    select * from {{ ref('int_trips_by_hour') }}
),

sums as (
    select
        service_type,
        pickup_date,
        pickup_hour,
        cast(sum(trips) as bigint) as trips,
        {{ total('fare_amount') }} as fare_amount,
        {{ total('tip_amount') }} as tip_amount,
        {{ total('tolls_amount') }} as tolls_amount,
        {{ total('surcharge_amount') }} as surcharge_amount,
        {{ total('total_amount') }} as total_amount
    from hours
    where rejection_reason = 'accepted'
    group by service_type, pickup_date, pickup_hour
),

final as (
    select
        service_type,
        pickup_date,
        pickup_hour,
        trips,
        fare_amount,
        tip_amount,
        tolls_amount,
        surcharge_amount,
        total_amount,
        {{ ratio('total_amount', 'trips') }} as avg_total_amount,
        {{ ratio('tip_amount', 'fare_amount') }} as tip_rate
    from sums
)

select * from final

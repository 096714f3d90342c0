with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

final as (
    select
        service_type,
        pickup_date,
        pickup_hour,
        count(*) as trips,
        {{ total('fare_amount') }} as fare_amount,
        {{ total('tip_amount') }} as tip_amount,
        {{ total('tolls_amount') }} as tolls_amount,
        {{ total(surcharges()) }} as surcharge_amount,
        {{ total('total_amount') }} as total_amount,
        {{ ratio('sum(total_amount)', 'count(*)') }} as avg_total_amount,
        {{ ratio('sum(tip_amount)', 'sum(fare_amount)') }} as tip_rate
    from trips
    where rejection_reason is null
    group by service_type, pickup_date, pickup_hour
)

select * from final

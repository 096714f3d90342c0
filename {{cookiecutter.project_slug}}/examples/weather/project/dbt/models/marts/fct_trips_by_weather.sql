with

weather as (
    select * from {{ ref('stg_weather') }}
),

trips as (
    select * from {{ ref('fct_daily_trips') }}
),

days as (
    select
        file_date as day,
        min(temperature) as min_temperature,
        max(temperature) as max_temperature,
        cast(sum(rain) as decimal(18, 1)) as rain
    from weather
    group by file_date
),

-- Days without weather are left out; days without a trip have none.
final as (
    select
        days.day,
        days.min_temperature,
        days.max_temperature,
        days.rain,
        cast(coalesce(sum(trips.trips), 0) as bigint) as trips
    from days
    left join trips on days.day = trips.pickup_date
    group by days.day, days.min_temperature, days.max_temperature, days.rain
)

select * from final

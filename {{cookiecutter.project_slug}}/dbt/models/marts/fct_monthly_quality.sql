with

hours as (
    select * from {{ ref('int_trips_by_hour') }}
),

reasons as (
    select
        service_type,
        file_month,
        rejection_reason,
        cast(sum(trips) as bigint) as trips,
        {{ total('total_amount') }} as total_amount
    from hours
    group by service_type, file_month, rejection_reason
),

months as (
    select
        service_type,
        file_month,
        sum(trips) as trips
    from reasons
    group by service_type, file_month
),

final as (
    select
        reasons.service_type,
        reasons.file_month,
        reasons.rejection_reason,
        reasons.trips,
        {{ ratio('reasons.trips', 'months.trips') }} as share,
        reasons.total_amount
    from reasons
    inner join months
        on
            reasons.service_type = months.service_type
            and reasons.file_month = months.file_month
)

select * from final

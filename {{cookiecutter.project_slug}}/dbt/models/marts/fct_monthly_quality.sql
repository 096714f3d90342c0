with

trips as (
    select * from {{ ref('int_trips_unioned') }}
),

reasons as (
    select
        service_type,
        file_month,
        coalesce(rejection_reason, 'accepted') as rejection_reason,
        count(*) as trips,
        {{ total('total_amount') }} as total_amount
    from trips
    group by service_type, file_month, coalesce(rejection_reason, 'accepted')
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

with

zones as (
    select * from {{ source('raw', 'taxi_zones') }}
),

final as (
    select
        location_id,
        trim(borough) as borough,
        trim(zone) as zone,
        trim(service_zone) as service_zone,
        source_sha256
    from zones
)

select * from final

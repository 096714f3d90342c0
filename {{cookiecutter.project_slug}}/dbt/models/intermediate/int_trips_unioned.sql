with

final as (
    {{ trips_of_services(var('services')) }}
)

select * from final

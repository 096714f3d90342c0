-- Nothing is lost or counted twice between silver and fct_hourly_revenue.
{{ disagreements_with_totals(ref('fct_hourly_revenue'), ref('int_trips_by_hour'), [
    'trips',
    'fare_amount',
    'tip_amount',
    'tolls_amount',
    'surcharge_amount',
    'total_amount'
]) }}

-- Nothing is lost or counted twice between silver and fct_daily_trips.
{{ disagreements_with_totals(ref('fct_daily_trips'), ref('int_trips_by_hour'), [
    'trips',
    'passengers',
    'distance_miles',
    'fare_amount',
    'tip_amount',
    'tolls_amount',
    'total_amount'
]) }}

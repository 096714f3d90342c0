-- Nothing is lost or counted twice between silver and fct_daily_trips.
{{ disagreements_with_silver(ref('fct_daily_trips'), {
    'trips': '1',
    'passengers': 'passenger_count',
    'distance_miles': 'trip_distance',
    'fare_amount': 'fare_amount',
    'tip_amount': 'tip_amount',
    'tolls_amount': 'tolls_amount',
    'total_amount': 'total_amount'
}) }}

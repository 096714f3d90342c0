-- Nothing is lost or counted twice between silver and fct_hourly_revenue.
{{ disagreements_with_silver(ref('fct_hourly_revenue'), {
    'trips': '1',
    'fare_amount': 'fare_amount',
    'tip_amount': 'tip_amount',
    'tolls_amount': 'tolls_amount',
    'total_amount': 'total_amount'
}) }}

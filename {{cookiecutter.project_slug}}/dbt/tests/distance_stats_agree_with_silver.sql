-- Nothing is lost or counted twice between silver and fct_trip_distance_stats: its join with zones must not multiply.
{{ disagreements_with_totals(ref('fct_trip_distance_stats'), ref('int_trips_by_route'), [
    'trips'
]) }}

{#- What the staging models of all services share: one rule, one place. -#}

{#-
  Elapsed whole seconds. Truncated first: engines count date_diff either by boundaries crossed or by time elapsed, and
  only on whole seconds are both the same.
-#}
{% macro seconds_between(earlier, later) -%}
    date_diff('second', date_trunc('second', {{ earlier }}), date_trunc('second', {{ later }}))
{%- endmacro %}


{#- 'Y' and 'N'; 2009 has 1 and 0 as numbers in text. Anything else is not known. -#}
{% macro is_yes(column) -%}
    case
        when upper(trim({{ column }})) in ('Y', '1', '1.0') then true
        when upper(trim({{ column }})) in ('N', '0', '0.0') then false
    end
{%- endmacro %}


{#- True where a zone or the rate says so, else false: "not known to be one". -#}
{% macro is_airport_trip() -%}
    coalesce(pickup_location_id in ({{ var('airport_zone_ids') | join(', ') }}), false)
    or coalesce(dropoff_location_id in ({{ var('airport_zone_ids') | join(', ') }}), false)
    or coalesce(rate_code_id in ({{ var('airport_rate_code_ids') | join(', ') }}), false)
{%- endmacro %}


{#- The first reason that holds, or null for an accepted row. Comparisons with null don't hold. -#}
{% macro rejection_reason() -%}
    {%- set tolerance = "interval '" ~ var('pickup_tolerance_hours') ~ "' hour" -%}
    {%- set zones = var('first_zone_id') ~ ' and ' ~ var('last_zone_id') -%}
    case
        when pickup_at is null or dropoff_at is null
            then 'missing_time'
        when
            pickup_at < cast(file_month as timestamp) - {{ tolerance }}
            or pickup_at > cast(file_month as timestamp) + interval '1' month + {{ tolerance }}
            then 'pickup_outside_month'
        when dropoff_at < pickup_at
            then 'dropoff_before_pickup'
        when duration_seconds > {{ var('max_duration_hours') }} * 3600
            then 'too_long'
        when fare_amount < 0 or total_amount < 0
            then 'negative_amount'
        when trip_distance < 0 or trip_distance > {{ var('max_distance_miles') }}
            then 'implausible_distance'
        when
            pickup_location_id not between {{ zones }}
            or dropoff_location_id not between {{ zones }}
            or (not has_coordinates and (pickup_location_id is null or dropoff_location_id is null))
            then 'unknown_zone'
    end
{%- endmacro %}


{#- What a passenger pays on top of fare, tip and tolls. A charge that a row lacks counts 0, it doesn't lose the others. -#}
{% macro surcharges() -%}
    coalesce(extra_amount, 0)
    + coalesce(mta_tax, 0)
    + coalesce(improvement_surcharge, 0)
    + coalesce(congestion_surcharge, 0)
    + coalesce(airport_fee, 0)
    + coalesce(cbd_congestion_fee, 0)
{%- endmacro %}


{#-
  The columns of the services' staging models, as their yml files declare them: name -> service -> type.

  A staging model of trips whose service is not in `services` would be missing in every mart, so it is an error.
-#}
{% macro columns_of_services(services) -%}
    {%- set columns = {} -%}
    {%- if execute -%}
        {%- set models = {} -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
            {%- do models.update({node.name: node}) -%}
        {%- endfor -%}
        {%- for name in models if modules.re.fullmatch('stg_.+_trips', name) and name[4:-6] not in services -%}
            {{ exceptions.raise_compiler_error(
                name ~ ' is not in the marts: add ' ~ name[4:-6] ~ ' to `services` in dbt_project.yml, or rename the model'
            ) }}
        {%- endfor -%}
        {%- for service in services -%}
            {%- for column in models['stg_' ~ service ~ '_trips'].columns.values() -%}
                {%- do columns.setdefault(column.name, {}).update({service: column.data_type}) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(columns) }}
{%- endmacro %}


{#- The rows of the services' staging models, with the columns of all; a column that a service lacks is null there. -#}
{% macro trips_of_services(services) -%}
    {%- set columns = columns_of_services(services) -%}
    {%- for service in services %}
    select
        '{{ service }}' as service_type
        {%- for name, types in columns.items() %},
        {{ name if service in types else 'cast(null as ' ~ (types.values() | first) ~ ') as ' ~ name }}
        {%- endfor %}
    from {{ ref('stg_' ~ service ~ '_trips') }}
    {%- if not loop.last %}

    union all
    {% endif -%}
    {%- endfor %}
{%- endmacro %}

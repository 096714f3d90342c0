{#- Values are names of the var `services`. -#}
{% test is_a_service(model, column_name) %}
    select {{ column_name }}
    from {{ model }}
    where {{ column_name }} not in ('{{ var('services') | join("', '") }}')
{% endtest %}

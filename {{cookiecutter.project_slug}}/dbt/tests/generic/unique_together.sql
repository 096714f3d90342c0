{#- One row for each combination of the columns. If one of them is the part of a model by month or day: of each alone. -#}
{% test unique_together(model, columns) %}
    {%- set parts = columns | select('in', ['file_month', 'file_date']) | list %}
    select
        {{ columns | join(', ') }},
        count(*) as times
    from {{ model }}
    {%- if parts %}
    where {{ of_changed_parts(model, parts[0]) }}
    {%- endif %}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}

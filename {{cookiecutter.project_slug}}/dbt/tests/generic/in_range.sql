{#- Values lie within limits, which may be left out; null is not a value. -#}
{% test in_range(model, column_name, at_least=none, at_most=none) %}
    select {{ column_name }}
    from {{ model }}
    where
        {%- if at_least is not none %}
        {{ column_name }} < {{ at_least }}
        {%- endif %}
        {%- if at_least is not none and at_most is not none %}
        or
        {%- endif %}
        {%- if at_most is not none %}
        {{ column_name }} > {{ at_most }}
        {%- endif %}
{% endtest %}

{#-
  Nothing is lost or counted twice between silver and a model that adds up its accepted rows by month.

  `sums` maps a column of the model to the expression over silver that it adds up.
-#}
{% test agrees_with_silver(model, sums) %}
    with

    accepted as (
        {%- for service in var('services') %}
        select
            '{{ service }}' as service_type,
            file_month
            {%- for name, expression in sums.items() %},
            coalesce(sum({{ expression }}), 0) as {{ name }}
            {%- endfor %}
        from {{ ref('stg_' ~ service ~ '_trips') }}
        where rejection_reason is null and {{ of_changed_parts(model, 'file_month') }}
        group by file_month
        {%- if not loop.last %}

        union all
        {% endif %}
        {%- endfor %}
    ),

    counted as (
        select
            service_type,
            file_month
            {%- for name in sums %},
            sum({{ name }}) as {{ name }}
            {%- endfor %}
        from {{ model }}
        where rejection_reason = 'accepted' and {{ of_changed_parts(model, 'file_month') }}
        group by service_type, file_month
    )

    select
        coalesce(accepted.service_type, counted.service_type) as service_type,
        coalesce(accepted.file_month, counted.file_month) as file_month
        {%- for name in sums %},
        accepted.{{ name }} as {{ name }}_in_silver,
        counted.{{ name }} as {{ name }}_here
        {%- endfor %}
    from accepted
    full outer join counted
        on accepted.service_type = counted.service_type and accepted.file_month = counted.file_month
    where
        {%- for name in sums %}
        {{ 'or ' if not loop.first }}accepted.{{ name }} is distinct from counted.{{ name }}
        {%- endfor %}
{% endtest %}

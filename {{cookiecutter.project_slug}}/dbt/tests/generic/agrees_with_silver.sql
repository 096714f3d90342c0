{#-
  Nothing is lost or counted twice between silver and a model that adds up its accepted rows by month.

  `sums` maps a column of the model to the expression over silver that it adds up.
-#}
{% test agrees_with_silver(model, sums) %}
    {%- set parts = of_changed_parts(model, 'file_month') -%}
    {%- set accepted -%}
    {%- for service in var('services') %}
    select
        '{{ service }}' as service_type,
        file_month
        {%- for name, expression in sums.items() %},
        coalesce(sum({{ expression }}), 0) as {{ name }}
        {%- endfor %}
    from {{ ref('stg_' ~ service ~ '_trips') }}
    where rejection_reason is null and {{ parts }}
    group by file_month
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}
    {%- endset -%}
    {%- set counted -%}
    (select * from {{ model }} where rejection_reason = 'accepted' and {{ parts }}) as accepted_rows
    {%- endset -%}
    {{ disagreements(accepted, counted, sums, ['service_type', 'file_month']) }}
{% endtest %}

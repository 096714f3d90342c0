{#-
  Rows where the sums of a mart are not those of the accepted rows of silver, by service.

  `sums` maps a column of the mart to the expression over silver that it adds up. Silver is asked directly, not through
  the models in between: a mistake there shows.
-#}
{% macro disagreements_with_silver(mart, sums) -%}
with

accepted as (
    {%- for service in var('services') %}
    select
        '{{ service }}' as service_type
        {%- for name, expression in sums.items() %},
        coalesce(sum({{ expression }}), 0) as {{ name }}
        {%- endfor %}
    from {{ ref('stg_' ~ service ~ '_trips') }}
    where rejection_reason is null
    having count(*) > 0
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}
),

counted as (
    select
        service_type
        {%- for name in sums %},
        sum({{ name }}) as {{ name }}
        {%- endfor %}
    from {{ mart }}
    group by service_type
)

select
    coalesce(accepted.service_type, counted.service_type) as service_type
    {%- for name in sums %},
    accepted.{{ name }} as {{ name }}_in_silver,
    counted.{{ name }} as {{ name }}_in_mart
    {%- endfor %}
from accepted
full outer join counted on accepted.service_type = counted.service_type
where
    {%- for name in sums %}
    {{ 'or ' if not loop.first }}accepted.{{ name }} is distinct from counted.{{ name }}
    {%- endfor %}
{%- endmacro %}

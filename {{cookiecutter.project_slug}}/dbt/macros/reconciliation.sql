{#-
  Rows where the sums of a mart are not those of the accepted trips of `totals`, by service.

  `totals` is a model that adds silver up by the month; its own test, agrees_with_silver, holds it against silver. So
  both together find what is lost or counted twice between silver and the mart, and neither reads all years of silver.
-#}
{% macro disagreements_with_totals(mart, totals, sums) -%}
    {%- set accepted -%}
    select
        service_type
        {%- for name in sums %},
        sum({{ name }}) as {{ name }}
        {%- endfor %}
    from {{ totals }}
    where rejection_reason = 'accepted'
    group by service_type
    {%- endset -%}
    {{ disagreements(accepted, mart, sums, ['service_type']) }}
{%- endmacro %}


{#-
  The same for a mart that reads all trips: `sums` maps a column of it to the expression over silver that it adds up.
  Silver is asked directly, not through the models in between: a mistake there shows.
-#}
{% macro disagreements_with_silver(mart, sums) -%}
    {%- set accepted -%}
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
    {%- endset -%}
    {{ disagreements(accepted, mart, sums, ['service_type']) }}
{%- endmacro %}


{#- What differs between a select of sums, `accepted`, and the sums of a table or a select, `counted`, by some columns. -#}
{% macro disagreements(accepted, counted, names, columns) -%}
with

accepted as (
{{ accepted }}
),

counted as (
    select
        {{ columns | join(', ') }}
        {%- for name in names %},
        sum({{ name }}) as {{ name }}
        {%- endfor %}
    from {{ counted }}
    group by {{ columns | join(', ') }}
)

select
    {%- for column in columns %}
    coalesce(accepted.{{ column }}, counted.{{ column }}) as {{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
    {%- for name in names %},
    accepted.{{ name }} as {{ name }}_expected,
    counted.{{ name }} as {{ name }}_found
    {%- endfor %}
from accepted
full outer join counted
    on {% for column in columns %}{{ ' and ' if not loop.first }}accepted.{{ column }} = counted.{{ column }}{% endfor %}
where
    {%- for name in names %}
    {{ 'or ' if not loop.first }}accepted.{{ name }} is distinct from counted.{{ name }}
    {%- endfor %}
{%- endmacro %}

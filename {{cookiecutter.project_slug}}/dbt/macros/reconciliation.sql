{#-
  Rows where the sums of a mart are not those of the accepted trips of `totals`, by service.

  `totals` is a model that adds silver up by the month; its own test, agrees_with_silver, holds it against silver. So
  both together find what is lost or counted twice between silver and the mart, and neither reads all years of silver.
-#}
{% macro disagreements(mart, totals, sums) -%}
with

accepted as (
    select
        service_type
        {%- for name in sums %},
        sum({{ name }}) as {{ name }}
        {%- endfor %}
    from {{ totals }}
    where rejection_reason = 'accepted'
    group by service_type
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
    accepted.{{ name }} as {{ name }}_in_totals,
    counted.{{ name }} as {{ name }}_in_mart
    {%- endfor %}
from accepted
full outer join counted on accepted.service_type = counted.service_type
where
    {%- for name in sums %}
    {{ 'or ' if not loop.first }}accepted.{{ name }} is distinct from counted.{{ name }}
    {%- endfor %}
{%- endmacro %}

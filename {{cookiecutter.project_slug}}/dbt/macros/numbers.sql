{#-
  Rounds a double half up (away from zero), to the same decimal on every engine.

  Engines cast double to decimal differently when the next digit counts: 1.005 is 1.00 for DuckDB and 1.01 for Trino.
  Multiplying, adding and flooring doubles is the same everywhere, and so is the cast of a double that has no more digits
  than the decimal. The millionth beside the half makes up for decimals that a double can't hold (1.005 is a little less
  than that). What is no number, infinite or too large becomes null.
-#}
{% macro round_half_up(expression, precision, scale) -%}
    {%- set units = 10 ** scale -%}
    cast(
        case
            when abs({{ expression }}) < 1e{{ precision - scale }}
                then sign({{ expression }}) * floor(abs({{ expression }}) * {{ units }} + 0.500001e0) / {{ units }}
        end as decimal({{ precision }}, {{ scale }})
    )
{%- endmacro %}


{#- Money and distance, which the files hold as doubles: exact from silver on. -#}
{% macro exact(column) -%}
    {{ round_half_up(column, 12, 2) }}
{%- endmacro %}


{#- Sum over sum, decimal(18,4); null where the divisor is 0. Takes sums: an average of averages is no average. -#}
{% macro ratio(dividend, divisor) -%}
    {{ round_half_up('(cast(' ~ dividend ~ ' as double) / nullif(cast(' ~ divisor ~ ' as double), 0))', 18, 4) }}
{%- endmacro %}


{#- A sum of amounts, decimal(18,2); 0 where all are null. -#}
{% macro total(column) -%}
    cast(coalesce(sum({{ column }}), 0) as decimal(18, 2))
{%- endmacro %}

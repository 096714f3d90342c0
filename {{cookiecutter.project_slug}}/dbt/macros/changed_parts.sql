{#-
  For a generic test that says something of each month or day alone: a condition that names those to look at.

  LAKEHOUSE_TEST_PARTS names them, by table: those whose files came or went since the test passed, and those that this
  run replaces. True where it does not name the table: then the test looks at all rows. `part` is the column.
-#}
{% macro of_changed_parts(model, part) -%}
    {%- if execute and model is not string -%}
        {%- set parts = fromjson(env_var('LAKEHOUSE_TEST_PARTS', '{}')).get(model.schema ~ '.' ~ model.identifier) -%}
        {%- if parts is not none -%}
            {{ return(part ~ " in (date '" ~ parts | join("', date '") ~ "')" if parts else 'false') }}
        {%- endif -%}
    {%- endif -%}
    {{ return('true') }}
{%- endmacro %}

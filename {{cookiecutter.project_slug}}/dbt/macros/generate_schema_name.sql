{#-
  Schemas are called silver and gold on every target: dbt's default would put the target's schema in front.
  `lakehouse reproduce` builds beside them, in schemas with a prefix.
-#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ env_var('LAKEHOUSE_DBT_PREFIX', '') }}{{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}

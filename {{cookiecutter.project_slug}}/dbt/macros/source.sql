{#-
  A source as it is now. `lakehouse reproduce` asks for it as it was in a snapshot: LAKEHOUSE_DBT_RAW_AT has snapshots by
  table, null for a table that had none.
-#}
{% macro source(source_name, table_name) -%}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {%- set versions = fromjson(env_var('LAKEHOUSE_DBT_RAW_AT', '{}')) -%}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    {%- if execute and name in versions -%}
        {{ return(adapter.dispatch('source_at', 'lakehouse')(relation, versions[name])) }}
    {%- endif -%}
    {{ return(relation) }}
{%- endmacro %}

{#- DuckDB: the plugin has registered that snapshot under the table's name. -#}
{% macro duckdb__source_at(relation, snapshot_id) -%}
    {{ return(relation) }}
{%- endmacro %}

{#- Trino shows the columns of that time: those that the table has got since are null. -#}
{% macro trino__source_at(relation, snapshot_id) -%}
    {%- set columns = adapter.get_columns_in_relation(relation) -%}
    {%- if snapshot_id is none -%}
        {{ return('(select * from ' ~ relation ~ ' where false)') }}
    {%- endif -%}
    {%- set version = relation ~ ' for version as of ' ~ snapshot_id -%}
    {%- set known = run_query('select * from ' ~ version ~ ' where false').column_names -%}
    {%- set selected = [] -%}
    {%- for column in columns -%}
        {%- do selected.append(
            column.quoted if column.name in known else 'cast(null as ' ~ column.data_type ~ ') as ' ~ column.quoted
        ) -%}
    {%- endfor -%}
    {{ return('(select ' ~ selected | join(', ') ~ ' from ' ~ version ~ ')') }}
{%- endmacro %}

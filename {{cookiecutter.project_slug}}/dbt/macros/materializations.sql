{#- How models become Iceberg tables: always one commit, never an empty table in between. Per engine: engines.sql. -#}


{#-
  by_file: rows of the files whose bytes or number of rows changed, replaced in one commit.

  The model reads one source, or models that are by_file themselves, and carries their `source_sha256` (and
  `partition_by`, where it is partitioned). What differs in hash between these and the table is rebuilt; what is gone from
  them is removed; if nothing differs, there is no commit. All is rebuilt where the table was made by another select or
  from other seeds (see model_version), or where a model that it reads was.

  A row may stand for several: `counted_by` is the column that says for how many. `unique_key` are the columns that tell
  the rows of a part from each other; without it, file_row does.
-#}
{% materialization by_file, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set sources = model.sources | map('join', '.') | unique | list -%}
    {%- set models = files_of_models(model.depends_on.nodes) -%}
    {%- if sources | length > 1 or (not sources and not models) -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": materialized='by_file' takes a model that reads exactly one source, or models that are by_file"
        ) }}
    {%- endif -%}

    {{ run_hooks(pre_hooks) }}
    {% do adapter.dispatch('replace_changed_files', 'lakehouse')(
        target_relation,
        compiled_code,
        {
            'read': [source(*model.sources[0])] if sources else models,
            'made_of': [] if sources else models,
            'partition_by': config.get('partition_by'),
            'model_version': model_version(compiled_code),
            'row_count': 'sum(' ~ config.get('counted_by') ~ ')' if config.get('counted_by') else 'count(*)',
            'row_key': config.get('unique_key') or ['file_row']
        }
    ) %}
    {{ run_hooks(post_hooks) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- The tables of models that are by_file, among these and among those that ephemeral ones read. -#}
{% macro files_of_models(names) -%}
    {%- set found = [] -%}
    {%- for name in names if name.startswith('model.') -%}
        {%- set node = graph.nodes[name] -%}
        {%- if node.config.materialized == 'by_file' -%}
            {%- do found.append(
                api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)
            ) -%}
        {%- elif node.config.materialized == 'ephemeral' -%}
            {%- do found.extend(files_of_models(node.depends_on.nodes)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#-
  incremental, by key: rows with a new `unique_key` are added, rows that differ replace those of the same key, in one
  commit. Rows of the table stay whose key the select does not have. If all rows are as they were, there is no commit.

  dbt's own would make a table in DuckDB's memory, and on Trino insert a new key twice if the select has it twice.
-#}
{% materialization incremental, adapter='duckdb' %}
    {{ return(merge_model()) }}
{% endmaterialization %}

{% materialization incremental, adapter='trino' %}
    {{ return(merge_model()) }}
{% endmaterialization %}

{% macro merge_model() -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set unique_key = config.get('unique_key') or [] -%}
    {%- set unique_key = [unique_key] if unique_key is string else unique_key -%}
    {%- if config.get('incremental_strategy') != 'merge' or not unique_key -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": materialized='incremental' needs incremental_strategy='merge' and a unique_key"
        ) }}
    {%- endif -%}
    {%- if config.get('on_schema_change') not in ['fail', 'append_new_columns'] -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": on_schema_change is " ~ config.get('on_schema_change') ~ ". Use fail or append_new_columns"
        ) }}
    {%- endif -%}
    {%- for option in ['incremental_predicates', 'merge_exclude_columns', 'merge_update_columns', 'partition_by'] -%}
        {%- if config.get(option) -%}
            {{ exceptions.raise_compiler_error(
                model.name ~ ": " ~ option ~ " is not known to materialized='incremental' here. Remove it"
            ) }}
        {%- endif -%}
    {%- endfor -%}

    {{ run_hooks(pre_hooks) }}
    {% do adapter.dispatch('merge_by_key', 'lakehouse')(
        target_relation, compiled_code, unique_key, config.get('on_schema_change')
    ) %}
    {{ run_hooks(post_hooks) }}

    {{ return({'relations': [target_relation]}) }}
{%- endmacro %}


{#- dbt's own says no on DuckDB, where the tables of Iceberg are views. -#}
{% macro is_incremental() -%}
    {%- if not execute or model.config.materialized != 'incremental' or should_full_refresh() -%}
        {{ return(false) }}
    {%- endif -%}
    {%- if adapter.get_relation(this.database, this.schema, this.table) is none -%}
        {{ return(false) }}
    {%- endif -%}
    {#- A first build that was killed leaves an empty table, and no row of an empty one is the greatest. -#}
    {{ return(run_query('select 1 as row_found from ' ~ this ~ ' limit 1').rows | length > 0) }}
{%- endmacro %}


{#-
  What tells one version of a model from another: its select, in which macros and vars are written out, and the rows of
  the seeds that it reads as they are in their tables now. The table keeps it as its comment.
-#}
{% macro model_version(select) -%}
    {%- set read = [select] -%}
    {%- for name in model.depends_on.nodes if name.startswith('seed.') -%}
        {%- set seed = graph.nodes[name] -%}
        {%- set relation = api.Relation.create(database=seed.database, schema=seed.schema, identifier=seed.alias) -%}
        {%- set rows = [] -%}
        {%- for row in run_query('select * from ' ~ relation).rows -%}
            {%- do rows.append(row.values() | join('|')) -%}
        {%- endfor -%}
        {%- do read.append(name ~ ': ' ~ rows | sort(case_sensitive=true) | join('; ')) -%}
    {%- endfor -%}
    {{ return('dbt model ' ~ model.name ~ ', version ' ~ local_md5(read | join('\n'))) }}
{%- endmacro %}


{#- table, on DuckDB: dbt's own would make a table in memory. On Trino dbt-trino's own does it: on_table_exists='replace'. -#}
{% materialization table, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks) }}
    {% do commit_to_iceberg(target_relation, compiled_code, {'replace': 'all'}) %}
    {{ run_hooks(post_hooks) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- Seeds become Iceberg tables too, so every engine can join them; a seed that has not changed makes no commit. -#}
{% materialization seed, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set agate_table = load_agate_table() -%}
    {%- do store_result('agate_table', response='OK', agate_table=agate_table) -%}

    {{ run_hooks(pre_hooks) }}
    {% do adapter.dispatch('replace_if_different', 'lakehouse')(target_relation, seed_select(agate_table)) %}
    {{ run_hooks(post_hooks) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- A seed's rows as one select, with the types that its yml declares. -#}
{% macro seed_select(agate_table) -%}
    {%- set types = config.get('column_types', {}) -%}
    {%- set untyped = agate_table.column_names | reject('in', types) | list -%}
    {%- if untyped -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": the seed's yml does not say the type of " ~ untyped | join(', ') ~ ". Its table is as it was. Add it "
            ~ "under config, column_types"
        ) }}
    {%- endif -%}
    {%- if not agate_table.rows -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": the seed's file has a header and no row. Its table is as it was. Add its rows, or remove the file"
        ) }}
    {%- endif -%}
    {%- for row in agate_table.rows %}
    select
        {%- for name in agate_table.column_names %}
        {%- set value = row[name] %}
        cast({{ 'null' if value is none else "'" ~ (value | string | replace("'", "''")) ~ "'" }} as {{ types[name] }}) as {{ name }}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{%- endmacro %}

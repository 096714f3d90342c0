{#- All that differs between the engines. Models know nothing of it. -#}


{#- DuckDB: the plugin of the profile (lakehouse.dbt_duckdb.plugin) runs the select and commits with PyIceberg. -#}
{% macro commit_to_iceberg(relation, select, options) -%}
    {#- The plugin's call returns nothing: it puts what it did into `outcome`. -#}
    {%- set outcome = {} -%}
    {%- set given = dict(
        options,
        select=select,
        columns=model.columns,
        full_refresh=should_full_refresh(),
        outcome=outcome
    ) -%}
    {%- do adapter.store_relation('iceberg', relation, [], '', 'parquet', given) -%}
    {%- call noop_statement('main', outcome.message, outcome.code, outcome.rows) -%}
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{% macro duckdb__replace_changed_files(relation, select, source_relation, partition_by, made_by) -%}
    {%- do commit_to_iceberg(relation, select, {
        'replace': 'changed files',
        'source': source_relation.schema ~ '.' ~ source_relation.identifier,
        'partition_by': partition_by,
        'made_by': made_by
    }) -%}
{%- endmacro %}

{% macro duckdb__replace_if_different(relation, select) -%}
    {%- do commit_to_iceberg(relation, select, {'replace': 'if different'}) -%}
{%- endmacro %}


{#- Trino: one statement is one commit. -#}
{% macro trino__replace_changed_files(relation, select, source_relation, partition_by, made_by) -%}
    {%- set existing = load_cached_relation(relation) -%}
    {%- if existing is none or should_full_refresh() or trino_comment(relation) != made_by -%}
        {%- do trino_replace_table(relation, select, partition_by, made_by) -%}
    {%- else -%}
        {%- set change = trino_changed_files(relation, source_relation, partition_by) -%}
        {%- if not change.differs -%}
            {%- do trino_unchanged(select) -%}
        {%- elif partition_by is none -%}
            {%- do trino_replace_table(relation, select, none, made_by) -%}
        {%- elif not change.replaced and not change.gone -%}
            {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='name') | join(', ') -%}
            {%- call statement('main') -%}
                insert into {{ relation }} ({{ columns }})
                select {{ columns }}
                from ({{ select }})
                where {{ partition_by }} in ({{ change.added | join(', ') }})
            {%- endcall -%}
        {%- elif not change.replaced and not change.added -%}
            {%- call statement('main') -%}
                delete from {{ relation }} where {{ partition_by }} in ({{ change.gone | join(', ') }})
            {%- endcall -%}
        {%- else -%}
            {%- do trino_merge_files(relation, select, partition_by, change) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro trino__replace_if_different(relation, select) -%}
    {%- set existing = load_cached_relation(relation) -%}
    {%- if existing is not none and not should_full_refresh() -%}
        {%- set different = run_query(
            'select count(*) from ((table ' ~ relation ~ ' except (' ~ select ~ ')) union all (('
            ~ select ~ ') except table ' ~ relation ~ '))'
        ) -%}
        {%- if different.rows[0][0] == 0 -%}
            {%- do trino_unchanged(select) -%}
            {{ return('') }}
        {%- endif -%}
    {%- endif -%}
    {%- do trino_replace_table(relation, select, none) -%}
{%- endmacro %}

{% macro trino_unchanged(select) -%}
    {%- call noop_statement('main', 'unchanged', 'UNCHANGED', 0) -%}
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{#- Refs and older snapshots outlive it; dropping and creating would lose them. -#}
{% macro trino_replace_table(relation, select, partition_by, comment=none) -%}
    {%- call statement('main') -%}
        create or replace table {{ relation }}
        {%- if comment %} comment '{{ comment }}'{% endif %}
        {%- if partition_by %} with (partitioning = array['{{ partition_by }}']){% endif %} as
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{#- A table's comment, '' where it has none. -#}
{% macro trino_comment(relation) -%}
    {%- set properties = relation.incorporate(path={'identifier': relation.identifier ~ '$properties'}) -%}
    {%- set found = run_query('select value from ' ~ properties ~ " where key = 'comment'").rows -%}
    {{ return(found[0][0] if found else '') }}
{%- endmacro %}

{#- The values of `partition_by` whose files differ, as literals: added, replaced, gone; and whether anything differs. -#}
{% macro trino_changed_files(relation, source_relation, partition_by) -%}
    {%- set key = partition_by or "'all'" -%}
    {%- set query -%}
        with

        wanted as (
            select {{ key }} as part, source_sha256, count(*) as row_count from {{ source_relation }} group by 1, 2
        ),

        held as (
            select {{ key }} as part, source_sha256, count(*) as row_count from {{ relation }} group by 1, 2
        )

        select
            cast(coalesce(wanted.part, held.part) as varchar) as part,
            count(wanted.part) as wanted_files,
            count(held.part) as held_files,
            count_if(wanted.row_count is distinct from held.row_count) as different_files
        from wanted
        full outer join held on wanted.part = held.part and wanted.source_sha256 = held.source_sha256
        group by 1
        having count_if(wanted.row_count is distinct from held.row_count) > 0
        order by 1
    {%- endset -%}
    {%- set change = {'differs': false, 'added': [], 'replaced': [], 'gone': []} -%}
    {%- for row in run_query(query).rows -%}
        {%- do change.update(differs=true) -%}
        {%- set kind = 'added' if row['held_files'] == 0 else ('gone' if row['wanted_files'] == 0 else 'replaced') -%}
        {%- do change[kind].append("date '" ~ row['part'] ~ "'") -%}
    {%- endfor -%}
    {{ return(change) }}
{%- endmacro %}

{#-
  Months in and out in one commit. A merge finds its rows by key: rows of the new file by (partition, file_row), and,
  flagged, the keys that the new file no longer has. The partitions are named on both sides, so others are not read.
-#}
{% macro trino_merge_files(relation, select, partition_by, change) -%}
    {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
    {%- set made = (change.added + change.replaced) | join(', ') -%}
    {%- set touched = (change.added + change.replaced + change.gone) | join(', ') -%}
    {%- call statement('main') -%}
        merge into {{ relation }} as held
        using (
            select false as is_gone, {{ columns | join(', ') }}
            from ({{ select }})
            where {{ partition_by }} in ({{ made or 'null' }})

            union all

            select
                true as is_gone,
                {%- for column in columns %}
                old.{{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ relation }} as old
            left join (
                select {{ partition_by }}, file_row from ({{ select }}) where {{ partition_by }} in ({{ made or 'null' }})
            ) as new
                on old.{{ partition_by }} = new.{{ partition_by }} and old.file_row = new.file_row
            where old.{{ partition_by }} in ({{ touched }}) and new.file_row is null
        ) as change
            on
                held.{{ partition_by }} = change.{{ partition_by }}
                and held.file_row = change.file_row
                and held.{{ partition_by }} in ({{ touched }})
        when matched and change.is_gone then delete
        when matched then update set
            {%- for column in columns %}
            {{ column }} = change.{{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        when not matched then insert ({{ columns | join(', ') }})
            values (change.{{ columns | join(', change.') }})
    {%- endcall -%}
{%- endmacro %}


{#- A column's type in one spelling: `timestamp(6)` is `TIMESTAMP` to DuckDB. -#}
{% macro canonical_type(data_type) -%}
    {%- set type = data_type | lower | replace(' ', '') -%}
    {{- {'timestamp(6)': 'timestamp', 'text': 'varchar', 'int': 'integer', 'bool': 'boolean'}.get(type, type) -}}
{%- endmacro %}

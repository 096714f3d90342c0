{#- All that differs between the engines. Models know nothing of it. -#}


{#- DuckDB: the plugin of the profile (lakehouse.dbt_duckdb.plugin) runs the select and commits with PyIceberg. -#}
{% macro commit_to_iceberg(target_relation, select, options) -%}
    {#- The plugin's call returns nothing: it puts what it did into `outcome`. -#}
    {%- set outcome = {} -%}
    {%- set given = dict(
        options,
        select=select,
        columns=model.columns,
        full_refresh=should_full_refresh(),
        outcome=outcome
    ) -%}
    {%- do adapter.store_relation('iceberg', target_relation, [], '', 'parquet', given) -%}
    {%- call noop_statement('main', outcome.message, outcome.code, outcome.rows) -%}
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{% macro duckdb__replace_changed_files(target_relation, select, files) -%}
    {%- set given = dict(files, replace='changed files', read=[], made_of=[]) -%}
    {%- for kind in ['read', 'made_of'] -%}
        {%- for relation in files[kind] -%}
            {%- do given[kind].append(relation.schema ~ '.' ~ relation.identifier) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do commit_to_iceberg(target_relation, select, given) -%}
{%- endmacro %}

{% macro duckdb__replace_if_different(target_relation, select) -%}
    {%- do commit_to_iceberg(target_relation, select, {'replace': 'if different'}) -%}
{%- endmacro %}

{% macro duckdb__merge_by_key(target_relation, select, unique_key, on_schema_change) -%}
    {%- do commit_to_iceberg(target_relation, select, {
        'replace': 'by key',
        'unique_key': unique_key,
        'on_schema_change': on_schema_change
    }) -%}
{%- endmacro %}


{#- Trino: one statement is one commit. -#}
{% macro trino__replace_changed_files(target_relation, select, files) -%}
    {%- set existing_relation = load_cached_relation(target_relation) -%}
    {%- set partition_by = files.partition_by -%}
    {%- set versions = [files.model_version] -%}
    {%- for relation in files.made_of -%}
        {%- do versions.append(trino_comment(relation)) -%}
    {%- endfor -%}
    {%- set model_version = versions[0] if versions | length == 1 else 'dbt model ' ~ model.name ~ ', version ' ~ local_md5(versions | join('\n')) -%}
    {%- if existing_relation is none or should_full_refresh() or trino_comment(target_relation) != model_version -%}
        {%- do trino_replace_table(target_relation, select, partition_by, model_version) -%}
    {%- else -%}
        {%- set change = trino_changed_files(target_relation, files) -%}
        {%- if not change.differs -%}
            {%- do trino_unchanged(select) -%}
        {%- elif partition_by is none -%}
            {%- do trino_replace_table(target_relation, select, none, model_version) -%}
        {%- elif not change.replaced and not change.removed -%}
            {%- set columns = adapter.get_columns_in_relation(target_relation) | map(attribute='name') | join(', ') -%}
            {%- call statement('main') -%}
                insert into {{ target_relation }} ({{ columns }})
                select {{ columns }}
                from ({{ select }})
                where {{ partition_by }} in ({{ change.added | join(', ') }})
            {%- endcall -%}
        {%- elif not change.replaced and not change.added -%}
            {%- call statement('main') -%}
                delete from {{ target_relation }} where {{ partition_by }} in ({{ change.removed | join(', ') }})
            {%- endcall -%}
        {%- else -%}
            {%- do trino_merge_files(target_relation, select, files, change) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro trino__replace_if_different(target_relation, select) -%}
    {%- set existing_relation = load_cached_relation(target_relation) -%}
    {%- if existing_relation is not none and not should_full_refresh() -%}
        {%- set different = run_query(
            'select count(*) from ((table ' ~ target_relation ~ ' except (' ~ select ~ ')) union all (('
            ~ select ~ ') except table ' ~ target_relation ~ '))'
        ) -%}
        {%- if different.rows[0][0] == 0 -%}
            {%- do trino_unchanged(select) -%}
            {{ return('') }}
        {%- endif -%}
    {%- endif -%}
    {%- do trino_replace_table(target_relation, select, none) -%}
{%- endmacro %}

{% macro trino_unchanged(select) -%}
    {%- call noop_statement('main', 'unchanged', 'UNCHANGED', 0) -%}
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{#- Refs and older snapshots outlive it; dropping and creating would lose them. -#}
{% macro trino_replace_table(target_relation, select, partition_by, comment=none) -%}
    {%- call statement('main') -%}
        create or replace table {{ target_relation }}
        {%- if comment %} comment '{{ comment }}'{% endif %}
        {%- if partition_by %} with (partitioning = array['{{ partition_by }}']){% endif %} as
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{#- A table's comment, '' where it has none. -#}
{% macro trino_comment(target_relation) -%}
    {%- set properties = target_relation.incorporate(path={'identifier': target_relation.identifier ~ '$properties'}) -%}
    {%- set found = run_query('select value from ' ~ properties ~ " where key = 'comment'").rows -%}
    {{ return(found[0][0] if found else '') }}
{%- endmacro %}

{#- The values of `partition_by` whose files differ, as literals: added, replaced, removed; and whether anything differs. -#}
{% macro trino_changed_files(target_relation, files) -%}
    {%- set key = files.partition_by or "'all'" -%}
    {%- set query -%}
        with

        source_files as (
            {%- for relation in files.read %}
            select {{ key }} as part, source_sha256, count(*) as row_count from {{ relation }} group by 1, 2
            {%- if not loop.last %}
            union all
            {%- endif %}
            {%- endfor %}
        ),

        table_files as (
            select {{ key }} as part, source_sha256, {{ files.row_count }} as row_count from {{ target_relation }} group by 1, 2
        )

        select
            cast(coalesce(source_files.part, table_files.part) as varchar) as part,
            count(source_files.part) as source_file_count,
            count(table_files.part) as table_file_count,
            count_if(source_files.row_count is distinct from table_files.row_count) as different_files
        from source_files
        full outer join table_files on source_files.part = table_files.part and source_files.source_sha256 = table_files.source_sha256
        group by 1
        having count_if(source_files.row_count is distinct from table_files.row_count) > 0
        order by 1
    {%- endset -%}
    {%- set change = {'differs': false, 'added': [], 'replaced': [], 'removed': []} -%}
    {%- for row in run_query(query).rows -%}
        {%- do change.update(differs=true) -%}
        {%- set kind = 'added' if row['table_file_count'] == 0 else ('removed' if row['source_file_count'] == 0 else 'replaced') -%}
        {%- do change[kind].append("date '" ~ row['part'] ~ "'") -%}
    {%- endfor -%}
    {{ return(change) }}
{%- endmacro %}

{#-
  Replaces and removes months in one commit. A merge finds its rows by key (partition, and file_row or the model's
  unique_key): the rows of the new files, and, marked as removed, the keys that the new files no longer have. Both sides
  name the partitions, so that Trino reads no others.
-#}
{% macro trino_merge_files(target_relation, select, files, change) -%}
    {%- set partition_by = files.partition_by -%}
    {%- set key = [partition_by] + files.row_key -%}
    {%- set columns = adapter.get_columns_in_relation(target_relation) | map(attribute='name') | list -%}
    {%- set written = (change.added + change.replaced) | join(', ') -%}
    {%- set touched = (change.added + change.replaced + change.removed) | join(', ') -%}
    {%- call statement('main') -%}
        merge into {{ target_relation }} as target
        using (
            select false as is_removed, {{ columns | join(', ') }}
            from ({{ select }})
            where {{ partition_by }} in ({{ written or 'null' }})

            union all

            select
                true as is_removed,
                {%- for column in columns %}
                old.{{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ target_relation }} as old
            left join (
                select {{ key | join(', ') }} from ({{ select }}) where {{ partition_by }} in ({{ written or 'null' }})
            ) as new
                on {% for column in key %}{{ ' and ' if not loop.first }}old.{{ column }} = new.{{ column }}{% endfor %}
            where old.{{ partition_by }} in ({{ touched }}) and new.{{ key[-1] }} is null
        ) as change
            on
                {%- for column in key %}
                {{ 'and ' if not loop.first }}target.{{ column }} = change.{{ column }}
                {%- endfor %}
                and target.{{ partition_by }} in ({{ touched }})
        when matched and change.is_removed then delete
        when matched then update set
            {%- for column in columns %}
            {{ column }} = change.{{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        when not matched then insert ({{ columns | join(', ') }})
            values (change.{{ columns | join(', change.') }})
    {%- endcall -%}
{%- endmacro %}

{#-
  Merges rows by key. The keys are looked at before: MERGE takes null for a key that is new each time, and adds a new key
  that the select has twice as two rows. A load that puts such rows into raw between the two queries is found by the
  next build.
-#}
{% macro trino__merge_by_key(target_relation, select, unique_key, on_schema_change) -%}
    {%- set existing_relation = load_cached_relation(target_relation) -%}
    {%- do trino_check_keys(target_relation, select, unique_key) -%}
    {%- if should_full_refresh() -%}
        {%- do trino_replace_table(target_relation, select, none) -%}
        {{ return('') }}
    {%- endif -%}
    {%- if existing_relation is none -%}
        {%- set inserted = run_query('select count(*) from (' ~ select ~ ')').rows[0][0] -%}
        {%- call statement('create') -%}
            create table {{ target_relation }} as {{ select }}
        {%- endcall -%}
        {%- do trino_merged(select, inserted, 0, 0) -%}
        {{ return('') }}
    {%- endif -%}

    {%- set columns = trino_append_columns(existing_relation, select, on_schema_change) -%}
    {%- set others = columns | reject('in', unique_key) | list -%}
    {%- set differs = [] -%}
    {%- for column in others -%}
        {%- do differs.append('target.' ~ column ~ ' is distinct from incoming.' ~ column) -%}
    {%- endfor -%}
    {%- set same_key = [] -%}
    {%- for column in unique_key -%}
        {%- do same_key.append('target.' ~ column ~ ' = incoming.' ~ column) -%}
    {%- endfor -%}
    {%- set counts -%}
        select
            count_if(target.{{ unique_key[0] }} is null) as inserted,
            count_if(target.{{ unique_key[0] }} is not null and ({{ differs | join(' or ') or 'false' }})) as updated,
            count(*) as row_count,
            (select count(*) from ({{ select }})) as incoming_row_count
        from ({{ select }}) as incoming
        left join {{ target_relation }} as target on {{ same_key | join(' and ') }}
    {%- endset -%}
    {%- set found = run_query(counts).rows[0] -%}
    {%- if found['row_count'] != found['incoming_row_count'] -%}
        {{ exceptions.raise_compiler_error(
            target_relation ~ " has two rows with the same " ~ unique_key | join(' and ') ~ ", so rows can't be merged by "
            ~ "it. No row was changed. " ~ trino_rebuild(target_relation)
        ) }}
    {%- endif -%}
    {%- if found['inserted'] + found['updated'] > 0 -%}
        {%- call statement('merge') -%}
            merge into {{ target_relation }} as target
            using ({{ select }}) as incoming
                on {{ same_key | join(' and ') }}
            {%- if others %}
            when matched and ({{ differs | join(' or ') }}) then update set
                {%- for column in others %}
                {{ column }} = incoming.{{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            {%- endif %}
            when not matched then insert ({{ columns | join(', ') }})
                values (incoming.{{ columns | join(', incoming.') }})
        {%- endcall -%}
    {%- endif -%}
    {%- do trino_merged(
        select, found['inserted'], found['updated'], found['row_count'] - found['inserted'] - found['updated']
    ) -%}
{%- endmacro %}

{% macro trino_merged(select, inserted, updated, unchanged) -%}
    {%- set written = (inserted + updated) | int -%}
    {%- set counts = '{:,} inserted, {:,} updated, {:,} unchanged'.format(inserted, updated, unchanged) -%}
    {%- call noop_statement('main', counts, 'MERGE', written) -%}
        {{ select }}
    {%- endcall -%}
{%- endmacro %}

{#- Refuses rows without a key, and two rows with the same one. -#}
{% macro trino_check_keys(target_relation, select, unique_key) -%}
    {%- set key = unique_key | join(', ') -%}
    {%- set query -%}
        select {{ key }}
        from ({{ select }})
        group by {{ key }}
        having count(*) > 1 or {{ unique_key | join(' is null or ') }} is null
        limit 1
    {%- endset -%}
    {%- for row in run_query(query).rows -%}
        {%- set values = [] -%}
        {%- for column in unique_key -%}
            {%- if row[column] is none -%}
                {{ exceptions.raise_compiler_error(
                    target_relation ~ ": a row of its select has no " ~ column ~ ", which is in its unique_key, so every row "
                    ~ "must have one. Its table is as it was. Leave such rows out of the select, or give them a value"
                ) }}
            {%- endif -%}
            {%- do values.append(column ~ ' = ' ~ row[column]) -%}
        {%- endfor -%}
        {{ exceptions.raise_compiler_error(
            target_relation ~ ": two rows of its select have " ~ values | join(' and ') ~ ", which is its unique_key, so only "
            ~ "one may have it. Its table is as it was. Let the select choose one of them"
        ) }}
    {%- endfor -%}
{%- endmacro %}

{#- The select's columns. Those that the table lacks are added to it, if the model says so. -#}
{% macro trino_append_columns(existing_relation, select, on_schema_change) -%}
    {%- set columns = get_columns_in_query(select) -%}
    {%- set existing_columns = adapter.get_columns_in_relation(existing_relation) | map(attribute='name') | list -%}
    {%- set new = columns | reject('in', existing_columns) | list -%}
    {%- set gone = existing_columns | reject('in', columns) | list -%}
    {%- if gone -%}
        {{ exceptions.raise_compiler_error(
            existing_relation ~ ": its table has columns that its select lacks: " ~ gone | join(', ') ~ ". The table is as it "
            ~ "was. Select them again, or rebuild it without them. " ~ trino_rebuild(existing_relation)
        ) }}
    {%- endif -%}
    {%- if new and on_schema_change != 'append_new_columns' -%}
        {{ exceptions.raise_compiler_error(
            existing_relation ~ ": its select has other columns than its table: " ~ new | join(', ') ~ ". The table is "
            ~ "as it was. on_schema_change='append_new_columns' adds columns. " ~ trino_rebuild(existing_relation)
        ) }}
    {%- endif -%}
    {%- for column in new -%}
        {%- if column not in model.columns or not model.columns[column].data_type -%}
            {{ exceptions.raise_compiler_error(
                existing_relation ~ ": its select has the new column " ~ column ~ ", whose type its yml does not say. The table "
                ~ "is as it was. Add the column to the yml, with its data_type"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- for column in new -%}
        {%- call statement('add_column') -%}
            alter table {{ existing_relation }} add column {{ column }} {{ model.columns[column].data_type }}
        {%- endcall -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{% macro trino_rebuild(relation) -%}
    {{ return('To rebuild it: lakehouse build --full-refresh --select ' ~ relation.identifier) }}
{%- endmacro %}


{#- A column's type in one spelling: `timestamp(6)` is `TIMESTAMP` to DuckDB. -#}
{% macro canonical_type(data_type) -%}
    {%- set type = data_type | lower | replace(' ', '') -%}
    {%- set spellings = {
        'timestamp(6)': 'timestamp',
        'timestamp(6)withtimezone': 'timestampwithtimezone',
        'varbinary': 'blob',
        'text': 'varchar',
        'int': 'integer',
        'bool': 'boolean',
    } -%}
    {{- spellings.get(type, type) -}}
{%- endmacro %}

{#- The model holds the rows of the very files that its source holds now: same months (or days: `part`), same bytes, same number of rows. -#}
{% test same_files_as(model, source_relation, part='file_month') %}
    with

    wanted as (
        select {{ part }}, source_sha256, count(*) as row_count
        from {{ source_relation }}
        where {{ of_changed_parts(model, part) }}
        group by 1, 2
    ),

    held as (
        select {{ part }}, source_sha256, count(*) as row_count
        from {{ model }}
        where {{ of_changed_parts(model, part) }}
        group by 1, 2
    )

    select
        coalesce(wanted.{{ part }}, held.{{ part }}) as {{ part }},
        wanted.row_count as rows_in_source,
        held.row_count as rows_in_model
    from wanted
    full outer join held
        on wanted.{{ part }} = held.{{ part }} and wanted.source_sha256 = held.source_sha256
    where wanted.row_count is distinct from held.row_count
{% endtest %}

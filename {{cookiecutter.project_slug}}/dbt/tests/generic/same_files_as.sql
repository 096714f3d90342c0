{#- The model holds the rows of the very files that its source holds now: same months, same bytes, same number of rows. -#}
{% test same_files_as(model, source_relation) %}
    with

    wanted as (
        select file_month, source_sha256, count(*) as row_count from {{ source_relation }} group by 1, 2
    ),

    held as (
        select file_month, source_sha256, count(*) as row_count from {{ model }} group by 1, 2
    )

    select
        coalesce(wanted.file_month, held.file_month) as file_month,
        wanted.row_count as rows_in_source,
        held.row_count as rows_in_model
    from wanted
    full outer join held
        on wanted.file_month = held.file_month and wanted.source_sha256 = held.source_sha256
    where wanted.row_count is distinct from held.row_count
{% endtest %}

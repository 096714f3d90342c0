{{ config(partition_by='file_date') }}

with

published as (
    select * from {{ source('raw', 'weather') }}
),

final as (
    select
        file_date,
        file_row,
        source_sha256,
        measured_at,
        temperature,
        rain
    from published
)

select * from final

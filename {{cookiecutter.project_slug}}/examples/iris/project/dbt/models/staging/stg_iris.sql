with

published as (
    select * from {{ source('raw', 'iris') }}
),

final as (
    select
        file_row,
        source_sha256,
        sepal_length,
        sepal_width,
        petal_length,
        petal_width,
        nullif(trim(species), '') as species
    from published
)

select * from final
